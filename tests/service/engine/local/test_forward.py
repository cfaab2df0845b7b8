"""Reads over prefix trees, padded rows and plain rows give the same answers."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from service.engine.base import LabelLogprobs, Prompt
from service.engine.local.engine import LocalEngine
from tests.service.engine.local.prompts import LABELS, ids

Load = Callable[..., LocalEngine]
LoadWithModel = Callable[..., tuple[LocalEngine, Any]]


def mixed() -> list[Prompt]:
    """Two groups with ragged own parts, interleaved; prompts that share with nobody; prompts without a shared part."""
    a, b = ids(50, 1), ids(37, 2)
    prompts = []
    for i, n in enumerate([1, 30, 7, 7, 19]):
        prompts += [Prompt(a, ids(n, 10 + i)), Prompt(b, ids(3 * n, 20 + i))]
    return [*prompts, Prompt(ids(44, 3), ids(5, 30)), Prompt((), ids(60, 31)), Prompt((), ids(1, 32))]


def probabilities(outcomes: Any) -> list[list[float]]:
    assert all(isinstance(outcome, LabelLogprobs) for outcome in outcomes), outcomes
    return [[math.exp(logprob) for logprob in outcome.logprobs] for outcome in outcomes]


def p_met(pairs: list[list[float]]) -> list[float]:
    return [met / (met + unmet) for met, unmet in pairs]


def plain(folder: Path, prompts: list[Prompt], attention: str = "eager") -> list[list[float]]:
    """One row, no padding, no cache, transformers' reference attention."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention)
    with torch.no_grad():
        rows = [model(torch.tensor([prompt.ids])).logits[0, -1] for prompt in prompts]
    return [torch.softmax(row.float(), -1)[list(LABELS)].tolist() for row in rows]


def assert_close(ours: list[list[float]], theirs: list[list[float]], tolerance: float = 1e-4) -> None:
    for a, b, p, q in zip(ours, theirs, p_met(ours), p_met(theirs), strict=True):
        assert a == pytest.approx(b, abs=tolerance)
        assert p == pytest.approx(q, abs=tolerance)


def grpo() -> list[Prompt]:
    """Three responses to one conversation, ragged; one of them has one criterion; another conversation's two."""
    a, b = ids(40, 1), ids(25, 2)
    shared = [a + ids(30, 3), a + ids(21, 4), a + ids(5, 5), b + ids(33, 6), b, a]
    own = [(1, 9, 30), (12, 4), (7,), (8, 3, 3, 21), (6, 6), (11,)]
    return [Prompt(text, ids(n, 50 + n + i)) for i, text in enumerate(shared) for n in own[i]]


TREES = ["qwen2", "llama", "qwen3", "mixtral", "wide"]


@pytest.mark.parametrize("name", [*TREES, "mistral", "gemma2"])
@pytest.mark.parametrize("batch", [mixed, grpo])
async def test_shared_unshared_and_plain_reads_agree(
    name: str, batch: Callable[[], list[Prompt]], load: Load, checkpoint: Callable[[str], Path]
) -> None:
    prompts = batch()
    expected = plain(checkpoint(name), prompts)
    shared = load(name)
    assert shared.identity.facts["share_prefix"] == "true"
    assert (shared.identity.facts["attention"] == "rubricd_tree") == (name in TREES)
    assert_close(probabilities(await shared.read_labels(prompts, LABELS)), expected)
    assert_close(probabilities(await load(name, share_prefix=False).read_labels(prompts, LABELS)), expected)
    assert_close(probabilities(await load(name, max_batch_tokens=150).read_labels(prompts, LABELS)), expected)
    spread = p_met(expected)
    assert max(spread) - min(spread) > 0.3, "the prompts must tell a mistake from the truth"


@pytest.mark.parametrize("name", ["mamba", "lfm2"])
async def test_a_model_whose_cache_cannot_be_repeated_is_read_unshared(
    name: str, load: Load, checkpoint: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="service.engine.local.engine"):
        engine = load(name)
        outcomes = await engine.read_labels(mixed(), LABELS)
        await engine.read_labels(mixed(), LABELS)
    assert_close(probabilities(outcomes), plain(checkpoint(name), mixed()))
    assert engine.identity.facts["share_prefix"] == "false"
    assert sum(getattr(outcome, "cached_tokens", 0) for outcome in outcomes) == 0
    assert [record.levelname for record in caplog.records if "cannot be shared" in record.message] == ["WARNING"]


@pytest.mark.parametrize(
    ("name", "passes", "heads"),
    [
        ("qwen2", [(1, 71)], [(1, 5, 300)]),
        ("mistral", [(1, 40), (3, 5), (2, 10)], [(1, 1, 300), (3, 1, 300), (2, 1, 300)]),
    ],
)
async def test_a_shared_prefix_is_computed_once_and_the_head_at_last_positions_only(
    name: str, passes: list[tuple[int, ...]], heads: list[tuple[int, ...]], load_with_model: LoadWithModel
) -> None:
    engine, model = load_with_model(name, max_batch_tokens=160)
    seen: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = ([], [])
    model.register_forward_pre_hook(
        lambda _, args, kwargs: seen[0].append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    model.get_output_embeddings().register_forward_hook(lambda _, args, output: seen[1].append(tuple(output.shape)))
    await engine.read_labels([Prompt(ids(40, 1), ids(n, n)) for n in (3, 9, 4, 10, 5)], LABELS)
    assert seen == (passes, heads)


async def test_bfloat16_reads_are_near_float32_ones(load: Load) -> None:
    engine = load(dtype="bfloat16")
    assert engine.identity.facts["dtype"] == "bfloat16"
    exact = p_met(probabilities(await load().read_labels(mixed(), LABELS)))
    rough = p_met(probabilities(await engine.read_labels(mixed(), LABELS)))
    assert rough == pytest.approx(exact, abs=0.1)
    assert rough != pytest.approx(exact, abs=1e-6)
