"""Prompts of the miniature judge that share long prefixes or none, and what is read of their answers."""

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from transformers import AutoTokenizer

from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, Outcome, Prompt
from service.engine.build import MINIATURE
from service.engine.vllm.engine import VllmEngine
from testkit.waiting import HUNG_S

TOKENIZER: Any = AutoTokenizer.from_pretrained(MINIATURE)
LABELS: tuple[int, ...] = tuple(TOKENIZER.convert_tokens_to_ids(["ĠYes", "ĠNo"]))
VOCABULARY: int = json.loads((MINIATURE / "config.json").read_text(encoding="utf-8"))["vocab_size"]


def ids(text: str) -> tuple[int, ...]:
    return tuple(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def words(n: int, seed: int) -> tuple[int, ...]:
    rng = random.Random(seed)
    return tuple(rng.randrange(20, VOCABULARY) for _ in range(n))


def cases(n: int = 24, seed: int = 0) -> list[Prompt]:
    """Groups that share long prefixes with ragged own parts, and some that share with nobody, interleaved."""
    rng = random.Random(seed)
    prompts = []
    for group in range(n // 4):
        shared = ids("Drink some water and get some rest. Is it right?") + words(140 + 7 * group, 50 * seed + group)
        prompts += [Prompt(shared, words(rng.randrange(1, 60), 1000 * seed + 10 * group + i)) for i in range(3)]
        prompts.append(Prompt((), words(rng.randrange(2, 90), 5000 * seed + group)))
    rng.shuffle(prompts)
    return prompts


def long(n: int, seed: int, **changes: Any) -> list[Prompt]:
    """Prompts that share nothing with each other or with anything before."""
    return [Prompt((), words(900, 10_000 + 100 * seed + i), **changes) for i in range(n)]


def logprobs(outcomes: Sequence[Outcome]) -> list[tuple[float, ...]]:
    assert all(isinstance(outcome, LabelLogprobs) for outcome in outcomes), outcomes
    return [outcome.logprobs for outcome in outcomes if isinstance(outcome, LabelLogprobs)]


def cached(outcomes: Sequence[Outcome]) -> list[int]:
    return [outcome.cached_tokens for outcome in outcomes if isinstance(outcome, LabelLogprobs)]


def texts(written: Sequence[GenerationOutcome]) -> list[str]:
    assert all(isinstance(one, Generation) for one in written), written
    return [one.text for one in written if isinstance(one, Generation)]


def close(ours: Sequence[tuple[float, ...]], theirs: Sequence[tuple[float, ...]]) -> bool:
    return all(a == pytest.approx(b, abs=1e-3) for a, b in zip(ours, theirs, strict=True))


async def emptied(engine: VllmEngine) -> None:
    async with asyncio.timeout(HUNG_S):
        while engine.unfinished:
            await asyncio.sleep(0.01)
