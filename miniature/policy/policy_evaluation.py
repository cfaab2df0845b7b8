"""Measures how well a policy answers the bare prompt: by the judge's word, by the exact truth, and as the best of N.

Guarantees: Answers are drawn from the bare prompt, at temperature 1 but for one figure. Judge and truth read the same
ones. An answer that
the judge did not judge ends the measurement.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from miniature.policy.make import load
from miniature.world.clinic import GENERIC_ITEMS
from miniature.world.oracle import steps
from miniature.world.tasks import SPLITS, rows, topic_of, truth
from trainer_client.client import JudgeClient, reward

MOST = 64
COOL, COOL_TOP_P = 0.7, 0.8
"""The sampling of the paper's measurements."""
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Scores:
    """Of R prompts with N answers each: the judge's scores and the exact rewards, prompt by prompt, the mean exact
    reward of answers sampled as the paper does, and the share of answers with each of the bad ideas of the world."""

    judge: Sequence[Sequence[float]]
    exact: Sequence[Sequence[float]]
    finished: float
    cool: float
    bad_ideas: Mapping[str, float]

    @property
    def summary(self) -> dict[str, Any]:
        flat = [[value for row in side for value in row] for side in (self.judge, self.exact)]
        sizes = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= len(self.judge[0])]
        means = [sum(side) / len(side) for side in flat]
        return {
            "bare_reward": means[0],
            "exact_reward": means[1],
            "exact_cool": self.cool,
            "finished": self.finished,
            "bad_ideas": dict(self.bad_ideas),
            "best_of": {str(n): best_of(self.judge, n) for n in sizes},
            "exact_best_of": {str(n): best_of(self.exact, n) for n in sizes},
        }


def best_of(scores: Sequence[Sequence[float]], n: int) -> float:
    """The expected best score of n answers drawn from each row's without putting back, over the rows' mean."""
    total = 0.0
    for row in scores:
        ranked = sorted(row)
        ways = comb(len(ranked), n)
        total += sum(value * comb(place, n - 1) / ways for place, value in enumerate(ranked))
    return total / len(scores)


def measure(folder: Path, url: str, *, seed: int = 0, samples: int = MOST) -> Mapping[str, Any]:
    """The saved policy on each split: `train` (prompts trained on), `trained` (other words, a quarter of the samples),
    `held-out` (other topics); one wording of each topic."""
    torch.manual_seed(seed)
    model, tokenizer = load(folder)
    each = {split: max(samples // 4, 1) if split == "trained" else samples for split in SPLITS}
    return {split: _split(model, tokenizer, _one_wording(rows(split)), url, each[split]).summary for split in SPLITS}


def _one_wording(asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({topic_of(row["id"]): row for row in reversed(asked)}.values())


def _split(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, asked: Sequence[dict[str, Any]], url: str, samples: int
) -> Scores:
    prompts = [row["prompt"] for row in asked for _ in range(samples)]
    texts, ended = answers(model, tokenizer, prompts)
    grouped = [texts[n * samples : (n + 1) * samples] for n in range(len(asked))]
    judged = asyncio.run(_judged(asked, grouped, url))
    exact = [[truth(topic_of(row["id"]), text) for text in own] for row, own in zip(asked, grouped, strict=True)]
    cool = _cool(model, tokenizer, asked, max(samples // 4, 1))
    return Scores(judged, exact, sum(ended) / len(ended), cool, _bad_ideas(texts))


def _bad_ideas(texts: Sequence[str]) -> Mapping[str, float]:
    said = [{step.item for step in steps(text)} for text in texts]
    return {item.id: sum(item in items for items in said) / len(said) for item in GENERIC_ITEMS}


def _cool(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, asked: Sequence[dict[str, Any]], samples: int
) -> float:
    """The mean exact reward at the paper's temperature and top-p."""
    rows = [row for row in asked for _ in range(samples)]
    texts, _ = answers(model, tokenizer, [row["prompt"] for row in rows], temperature=COOL, top_p=COOL_TOP_P)
    return sum(truth(topic_of(row["id"]), text) for row, text in zip(rows, texts, strict=True)) / len(rows)


@torch.inference_mode()
def answers(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[list[dict[str, str]]],
    *,
    longest: int = 64,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> tuple[list[str], list[bool]]:
    """An answer to each prompt, and whether it ended by itself."""
    texts: list[str] = []
    ended: list[bool] = []
    for start in range(0, len(prompts), _BATCH):
        asked = [
            tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            for prompt in prompts[start : start + _BATCH]
        ]
        batch = tokenizer(asked, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        made = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=top_p,
            max_new_tokens=longest,
        )[:, batch["input_ids"].shape[1] :]
        texts += tokenizer.batch_decode(made, skip_special_tokens=True)
        ended += (made == tokenizer.eos_token_id).any(dim=1).tolist()
    return texts, ended


async def _judged(asked: Sequence[dict[str, Any]], texts: Sequence[Sequence[str]], url: str) -> list[list[float]]:
    items = [{**row, "responses": own} for row, own in zip(asked, texts, strict=True)]
    async with JudgeClient(url, batch_items=2 * MOST) as client:
        outcomes = await client.score(items, priority="eval")
    scores = [reward(outcome) for outcome in outcomes]
    found = [score for score in scores if score is not None]
    if len(found) < len(scores):
        raise RuntimeError(f"{len(scores) - len(found)} of {len(scores)} answers were not judged; nothing is measured")
    each = len(found) // len(asked)
    return [found[n * each : (n + 1) * each] for n in range(len(asked))]
