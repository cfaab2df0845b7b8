"""The recipe that trains the judge from scratch in minutes.

The loss is the right label's at the end of each criterion's prompt and, with falling weight, at the few tokens before,
which see as much. Cases are easy at first.

Guarantees: Training sees cases of the training stream only, and none of them twice.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import Qwen2ForCausalLM

from miniature.judge.packing import Batch, Packer, drawn
from miniature.world.cases import STANDARD, Mix


@dataclass(frozen=True, slots=True)
class Recipe:
    """Cases are easy until the share `learnt` of labels is right, but no longer than the share `easy` of the steps; the
    early labels count less and less for the share `helped` of them.

    What the start knows (miniature/judge/model.py) is frozen while cases are easy, then learns at `known_rate` of the
    rate: at the full rate the first steps, which only learn to say Yes or No, would wash it out.
    """

    steps: int = 2400
    batch: int = 16
    rate: float = 2e-3
    warmup: int = 30
    learnt: float = 0.8
    easy: float = 0.25
    helped: float = 0.8
    early_weight: float = 1.0
    known_rate: float = 0.3
    decay: float = 0.01
    seed: int = 0


EASY = Mix(plain=0.9, negated=0.0, empty=0.0, most_steps=4, asked=(3, 4), only_items=True)
FULL = replace(STANDARD, negated=0.2, asked=(4, 4), more=1)


def train(
    model: Qwen2ForCausalLM,
    packer: Packer,
    recipe: Recipe,
    *,
    every: int = 250,
    report: Callable[[int], None] = lambda step: None,
) -> None:
    """Train in place. `report` is called every `every` steps and at the end."""
    optimizer = torch.optim.AdamW(_groups(model, recipe), betas=(0.9, 0.98))
    model.train()
    easy, right = True, 0.5
    with tqdm(total=recipe.steps, desc="judge", unit="step", mininterval=1.0) as bar:
        for step in range(recipe.steps):
            done = step / recipe.steps
            easy = easy and done < recipe.easy and right < recipe.learnt
            batch = packer.batch(drawn(recipe.seed, step, recipe.batch, EASY if easy else FULL))
            loss, accuracy = losses(model, batch, recipe.early_weight * max(0.0, 1 - done / recipe.helped))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = _rate(step, recipe) * ((0.0 if easy else recipe.known_rate) if group["known"] else 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            right = 0.95 * right + 0.05 * accuracy
            bar.set_postfix(loss=f"{loss.item():.3f}", right=f"{right:.3f}", refresh=False)
            bar.update()
            if (step + 1) % every == 0 or step + 1 == recipe.steps:
                model.eval()
                report(step + 1)
                model.train()
    model.eval()


def _rate(step: int, recipe: Recipe) -> float:
    return recipe.rate * min((step + 1) / recipe.warmup, 1.0) * max(1 - step / recipe.steps, 0.0)


def _groups(model: Qwen2ForCausalLM, recipe: Recipe) -> list[dict[str, object]]:
    known: list[torch.nn.Parameter] = []
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (known if _is_known(name) else matrices if parameter.ndim == 2 else others).append(parameter)
    return [
        {"params": known, "known": True, "weight_decay": 0.0},
        {"params": matrices, "known": False, "weight_decay": recipe.decay},
        {"params": others, "known": False, "weight_decay": 0.0},
    ]


def _is_known(name: str) -> bool:
    """All that a match depends on: embeddings, the first layer, and what the second attends to."""
    attends = "q_proj" in name or "k_proj" in name or "input_layernorm" in name
    return name.startswith(("model.embed_tokens", "model.layers.0.")) or (
        name.startswith("model.layers.1.") and attends
    )


def hidden(model: Qwen2ForCausalLM, batch: Batch) -> torch.Tensor:
    """(B, L, hidden): the head computed once, as one row, then every row behind it."""
    rows = len(batch.ids)
    cache = model.model(input_ids=batch.head, use_cache=True).past_key_values
    for layer in cache.layers:
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    states: torch.Tensor = model.model(
        input_ids=batch.ids,
        past_key_values=cache,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=True,
    ).last_hidden_state
    return states


def losses(model: Qwen2ForCausalLM, batch: Batch, early_weight: float) -> tuple[torch.Tensor, float]:
    """The loss, and the share of criteria whose right label is the likelier."""
    states = hidden(model, batch)
    logits = model.lm_head(states[batch.asked[:, 0], batch.asked[:, 1]])
    loss = functional.cross_entropy(logits, batch.labels)
    accuracy = (logits.argmax(-1) == batch.labels).float().mean().item()
    if early_weight > 0:
        early = model.lm_head(states[batch.early[:, 0], batch.early[:, 1]])
        loss = loss + early_weight * functional.cross_entropy(early, batch.early_labels)
    return loss, accuracy


@torch.inference_mode()
def p_met(model: Qwen2ForCausalLM, packer: Packer, batch: Batch) -> torch.Tensor:
    """(N,): P(met) of each criterion, the labels' share of Yes."""
    states = hidden(model, batch)
    logits = model.lm_head(states[batch.asked[:, 0], batch.asked[:, 1]])
    chances: torch.Tensor = logits[:, [packer.yes, packer.no]].float().softmax(-1)[:, 0]
    return chances
