"""The recipe that trains the judge from scratch in minutes.

The loss is the right label's at the end of each criterion's prompt and, with falling weight, at the few tokens before,
which see as much, and at hints within the prompt, where something is true of a part: that a sentence is advice, that a
listed criterion is met. Cases are easy at first; then a third of the responses are broken or written by a policy, and
the judge learns to rate as well.

Guarantees: Training sees cases of the training stream only, and none of them twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Self

import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import Qwen2ForCausalLM

from miniature.judge.packing import Batch, Packer, drawn
from miniature.world.cases import STANDARD, Mix, training, training_on
from miniature.world.ratings import by_rubric, by_topic

_RATINGS = 500_009
"""Added to the seed for the cases that are rated."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Cases are easy until the share `learnt` of labels is right, but no longer than the share `easy` of the steps; the
    early labels count less and less for the share `helped` of them.

    What the start knows (miniature/judge/model.py) is frozen while cases are easy, then learns at `known_rate` of the
    rate: at the full rate the first steps, which only learn to say Yes or No, would wash it out. Of the `batch` cases
    of a step `written` are about a policy's texts, where there are any; `rated` responses a step are rated by a
    rubric, and as many without one. A training that `goes_on` from a judge has no easy cases.
    """

    steps: int = 2400
    batch: int = 16
    written: int = 3
    rated: int = 6
    rating_weight: float = 0.5
    rate: float = 2e-3
    warmup: int = 30
    learnt: float = 0.8
    easy: float = 0.25
    helped: float = 0.8
    early_weight: float = 1.0
    known_rate: float = 0.3
    decay: float = 0.01
    seed: int = 0
    goes_on: bool = False

    @classmethod
    def going_on(cls, **asked: Any) -> Self:
        """The recipe for a judge that knows the easy part: fewer cases a step, most of them hard."""
        return cls(
            **{"steps": 2500, "batch": 10, "rated": 4, "rate": 2e-3, "known_rate": 1.0, "goes_on": True, **asked}
        )


EASY = Mix(plain=0.9, negated=0.0, empty=0.0, most_steps=4, asked=(3, 4), only_items=True)
FULL = replace(STANDARD, negated=0.2, asked=(4, 4), more=1, broken=0.35)
HARD = replace(FULL, plain=0.5, negated=0.12, broken=0.65)
_RATED = replace(STANDARD, asked=(2, 4), broken=0.2)


def train(
    model: Qwen2ForCausalLM,
    packer: Packer,
    recipe: Recipe,
    *,
    written: Sequence[str] = (),
    every: int = 250,
    report: Callable[[int], None] = lambda step: None,
) -> None:
    """Train in place. `written` are a policy's texts. `report` is called every `every` steps and at the end."""
    optimizer = torch.optim.AdamW(_groups(model, recipe), betas=(0.9, 0.98))
    model.train()
    easy, right = not recipe.goes_on, 0.5
    with tqdm(total=recipe.steps, desc="judge", unit="step", mininterval=1.0) as bar:
        for step in range(recipe.steps):
            done = step / recipe.steps
            easy = easy and done < recipe.easy and right < recipe.learnt
            early_weight = recipe.early_weight * max(0.0, 1 - done / recipe.helped)
            batches = _batches(packer, recipe, step, written, easy=easy)
            found = [losses(model, batch, early_weight) for batch in batches]
            loss = found[0][0] + recipe.rating_weight * sum(one for one, _ in found[1:])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = _rate(step, recipe) * ((0.0 if easy else recipe.known_rate) if group["known"] else 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            right = 0.95 * right + 0.05 * found[0][1]
            bar.set_postfix(loss=f"{loss.item():.3f}", right=f"{right:.3f}", refresh=False)
            bar.update()
            if (step + 1) % every == 0 or step + 1 == recipe.steps:
                model.eval()
                report(step + 1)
                model.train()
    model.eval()


def _batches(packer: Packer, recipe: Recipe, step: int, written: Sequence[str], *, easy: bool) -> list[Batch]:
    """The verdicts of a step and, once cases are no longer easy, its ratings by a rubric and without one."""
    if easy:
        return [packer.batch(drawn(recipe.seed, step, recipe.batch, EASY))]
    mix = HARD if recipe.goes_on else FULL
    cases = drawn(recipe.seed, step, recipe.batch, mix)
    if written:
        first = step * recipe.written
        numbers = range(first, first + recipe.written)
        cases[: recipe.written] = [training_on(written[n % len(written)], recipe.seed, n, mix) for n in numbers]
    random = Random(f"ratings/{recipe.seed}/{step}")
    rated = [training(recipe.seed + _RATINGS, step * 2 * recipe.rated + n, _RATED) for n in range(2 * recipe.rated)]
    by = [by_rubric(case, random, 1) for case in rated[: recipe.rated]]
    alone = [
        [by_topic(case, random, referenced=random.random() < 0.5, training=True)] for case in rated[recipe.rated :]
    ]
    return [
        packer.batch(cases),
        packer.rating_batch("implicit", [row for row in by if row]),
        packer.rating_batch("likert", alone),
    ]


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
        if len(batch.hinted):
            hinted = model.lm_head(states[batch.hinted[:, 0], batch.hinted[:, 1]])
            loss = loss + early_weight * functional.cross_entropy(hinted, batch.hint_labels)
    return loss, accuracy


@torch.inference_mode()
def p_met(model: Qwen2ForCausalLM, packer: Packer, batch: Batch) -> torch.Tensor:
    """(N,): P(met) of each criterion, the labels' share of Yes."""
    states = hidden(model, batch)
    logits = model.lm_head(states[batch.asked[:, 0], batch.asked[:, 1]])
    chances: torch.Tensor = logits[:, [packer.yes, packer.no]].float().softmax(-1)[:, 0]
    return chances


@torch.inference_mode()
def expected_ratings(model: Qwen2ForCausalLM, packer: Packer, batch: Batch) -> torch.Tensor:
    """(N,): the mean of each rating's distribution over 1 to 10, as the service computes it. The batch is one of
    `rating_batch` with `after_one`."""
    states = hidden(model, batch)
    logits = model.lm_head(states[batch.asked[:, 0], batch.asked[:, 1]]).float()
    masses = logits[0::2].softmax(-1)[:, list(packer.digits[1:])]
    after = logits[1::2].softmax(-1)[:, list(packer.digits)]
    ten = masses[:, 0] * after[:, 0]
    one = masses[:, 0] * (1 - after.sum(-1))
    masses = torch.cat([one[:, None], masses[:, 1:], ten[:, None]], dim=1)
    return (masses @ torch.arange(1.0, 11.0)) / masses.sum(-1)
