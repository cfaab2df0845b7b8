"""`python -m miniature policy`: train the tiny policy from nothing with an SFT curriculum, before any reward.

Guarantees: The saved folder is an ordinary Hugging Face causal language model with a chat template. The loss is that of
the answers' tokens and of their end, never of a prompt's.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.utils import logging as transformers_logging

from miniature.judge.model import save
from miniature.judge.tokenizer import LONGEST, train_tokenizer
from miniature.policy.induction_head_init import ROPE_THETA, init_induction_heads
from miniature.policy.sft_curriculum import Example, Mix, example

_VOCABULARY = 1024
_UNASKED = -100


@dataclass(frozen=True, slots=True)
class Recipe:
    steps: int = 1000
    batch: int = 24
    rate: float = 2.5e-3
    warmup: int = 50
    decay: float = 0.01
    seed: int = 0
    mix: Mix = field(default_factory=Mix)


@dataclass(frozen=True, slots=True)
class Batch:
    """B examples of at most L tokens. Padding is at the end, where nothing sees it."""

    ids: torch.Tensor  # (B, L)
    labels: torch.Tensor  # (B, L) the next token where it is the answer's or its end, else -100


def make(folder: Path, recipe: Recipe, *, threads: int, every: int = 200) -> None:
    """Train a policy and write it to `folder`, every `every` steps and at the end."""
    torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
    tokenizer = train_tokenizer(vocabulary=_VOCABULARY, corpus=_corpus(8000))
    model = build(tokenizer, seed=recipe.seed)
    train(model, tokenizer, recipe, every=every, report=lambda step: save(model, tokenizer, folder))


def load(folder: Path) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    """A saved policy, in float32."""
    model: Qwen2ForCausalLM = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval(), PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def _corpus(examples: int) -> Iterator[str]:
    for index in range(examples):
        one = example(-1, index, Mix(stray=0.5))
        yield from (message["content"] for message in one.messages)
        yield one.answer
        yield "system\nuser\nassistant\n"


def build(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Qwen2ForCausalLM:
    """A fresh model for the tokenizer, which knows how to copy."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=LONGEST,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        initializer_range=0.05,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    init_induction_heads(model, tokenizer)
    return model


def encode(tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example]) -> Batch:
    """(B, L) with L the longest example's tokens but one."""
    rows = [_encode(tokenizer, one) for one in examples]
    longest = max(len(prompt) + len(answer) for prompt, answer in rows) - 1
    ids = torch.full((len(rows), longest), tokenizer.pad_token_id)
    labels = torch.full((len(rows), longest), _UNASKED)
    for n, (prompt, answer) in enumerate(rows):
        row = [*prompt, *answer]
        ids[n, : len(row) - 1] = torch.tensor(row[:-1])
        labels[n, len(prompt) - 1 : len(row) - 1] = torch.tensor(answer)
    return Batch(ids, labels)


def _encode(tokenizer: PreTrainedTokenizerFast, one: Example) -> tuple[list[int], list[int]]:
    turns: list[dict[str, str]] = [{"role": turn["role"], "content": turn["content"]} for turn in one.messages]
    prompt = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    answer = f"{one.answer}{tokenizer.eos_token}"
    encoded = [tokenizer.encode(text, add_special_tokens=False) for text in (prompt, answer)]
    return encoded[0], encoded[1]


def loss_of(model: Qwen2ForCausalLM, batch: Batch) -> tuple[torch.Tensor, int]:
    """The sum of the loss, in nats, and the number of tokens that it is of."""
    states = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
    asked = batch.labels != _UNASKED
    logits = model.lm_head(states[asked])
    return functional.cross_entropy(logits, batch.labels[asked], reduction="sum"), int(asked.sum())


def train(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    *,
    every: int = 200,
    report: Callable[[int], None] = lambda step: None,
) -> list[float]:
    """Train in place; the loss of each step, in nats a token. `report` is called every `every` steps and at the end."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=recipe.decay)
    model.train()
    seen: list[float] = []
    with tqdm(total=recipe.steps, desc="policy", unit="step", mininterval=1.0, file=sys.stderr) as bar:
        for step in range(recipe.steps):
            seen.append(_step(model, tokenizer, recipe, step))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = _rate(step, recipe)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            bar.set_postfix(loss=f"{seen[-1]:.3f}", refresh=False)
            bar.update()
            if (step + 1) % every == 0 or step + 1 == recipe.steps:
                model.eval()
                report(step + 1)
                model.train()
    model.eval()
    return seen


def _step(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, step: int) -> float:
    """The gradient of one step's examples. Short ones go apart from long ones, so that little is padding."""
    examples = [example(recipe.seed, step * recipe.batch + n, recipe.mix) for n in range(recipe.batch)]
    parts = [[one for one in examples if one.scaffolded is kind] for kind in (False, True)]
    losses, tokens = zip(*(loss_of(model, encode(tokenizer, part)) for part in parts if part), strict=True)
    loss = sum(losses) / sum(tokens)
    loss.backward()
    return float(loss.detach())


def _rate(step: int, recipe: Recipe) -> float:
    return recipe.rate * min((step + 1) / recipe.warmup, 1.0) * max(1 - step / recipe.steps, 0.05)
