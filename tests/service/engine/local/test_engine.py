import asyncio
import logging
import math
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from service.engine.base import LabelLogprobs, Outcome, Prompt
from service.engine.local.engine import LocalEngine, replicate
from service.errors import EngineFailed, TooLong

LABELS = (11, 23)
Load = Callable[..., LocalEngine]
LoadWithModel = Callable[..., tuple[LocalEngine, Any]]


def ids(n: int, seed: int) -> tuple[int, ...]:
    rng = random.Random(seed)
    return tuple(rng.randrange(300) for _ in range(n))


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


async def test_each_prompt_after_the_first_of_a_group_has_its_shared_tokens_cached(load: Load) -> None:
    shared = ids(40, 1)
    prompts = [Prompt(shared, ids(9, 2)), Prompt(shared, ids(2, 3)), Prompt(ids(5, 4), ids(2, 5)), Prompt(shared, (1,))]
    outcomes = await load().read_labels(prompts, LABELS)
    assert [getattr(outcome, "cached_tokens", None) for outcome in outcomes] == [0, 40, 0, 40]


async def test_a_groups_conversation_is_paid_for_once_and_each_response_once(load: Load) -> None:
    conversation = ids(40, 1)
    responses = [conversation + ids(30, 2), conversation + ids(20, 3)]
    outcomes = await load().read_labels([Prompt(text, ids(5, n)) for text in responses for n in range(3)], LABELS)
    cached = [outcome.cached_tokens for outcome in outcomes if isinstance(outcome, LabelLogprobs)]
    first = min(cached[0], cached[3])
    assert first == 0 and cached[0] + cached[3] == 40, "whichever of the responses comes first pays"
    assert cached[1:3] == [70, 70] and cached[4:] == [60, 60]


async def test_prompts_of_different_salts_share_nothing(load: Load) -> None:
    prompts = [Prompt(ids(40, 1), ids(3, n), salt=salt) for n, salt in enumerate("aabb")]
    engine = load()
    outcomes = await engine.read_labels(prompts, LABELS)
    assert [getattr(outcome, "cached_tokens", None) for outcome in outcomes] == [0, 40, 0, 40]
    outcomes = await load("mistral").read_labels(prompts, LABELS)
    assert [getattr(outcome, "cached_tokens", None) for outcome in outcomes] == [0, 40, 0, 40]


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


async def test_only_the_prompt_that_is_too_long_fails(load: Load) -> None:
    shared = ids(100, 1)
    prompts = [Prompt(shared, ids(99, 2)), Prompt(shared, ids(100, 3)), Prompt((), ids(500, 4)), Prompt((), ids(9, 5))]
    outcomes = await load().read_labels(prompts, LABELS)
    assert [type(outcome) for outcome in outcomes] == [LabelLogprobs, TooLong, TooLong, LabelLogprobs]


async def test_what_no_tokenizer_of_the_judge_gives_is_refused(load: Load) -> None:
    engine = load()
    with pytest.raises(ValueError, match="never empty"):
        await engine.read_labels([Prompt((1, 2), ())], LABELS)
    with pytest.raises(ValueError, match="vocabulary"):
        await engine.read_labels([Prompt((1, 2), (3,))], (5, 300))
    outcomes = await engine.read_labels([Prompt((1,), (300,)), Prompt((1,), (-1,)), Prompt((1,), (2,))], LABELS)
    assert [type(outcome) for outcome in outcomes] == [EngineFailed, EngineFailed, LabelLogprobs]
    assert await engine.read_labels([], LABELS) == []


async def test_numbers_that_are_not_finite_fail_their_own_prompt_only(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model("llama")
    prompts = [Prompt((5, 6, 7), (8, 9)), Prompt((5, 6, 7), (299, 9)), Prompt((5, 6, 7), (8,)), Prompt((), (299,))]
    before = await engine.read_labels(prompts, LABELS)
    with torch.no_grad():
        model.get_input_embeddings().weight[299] = math.nan
    outcomes = await engine.read_labels(prompts, LABELS)
    assert [type(outcome) for outcome in outcomes] == [LabelLogprobs, EngineFailed, LabelLogprobs, EngineFailed]
    assert outcomes[0] == before[0] and outcomes[2] == before[2]
    with pytest.raises(EngineFailed):
        await engine.read_labels(prompts[3:], LABELS)


async def test_a_failing_pass_fails_its_own_prompts_and_the_engine_stays_usable(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model(max_batch_tokens=30)
    prompts = [Prompt(ids(20, 1), ids(4, 2)), Prompt(ids(20, 1), ids(5, 3)), Prompt((), ids(9, 4))]
    right = await engine.read_labels(prompts, LABELS)

    def no_memory(_: Any, args: Any, kwargs: Any) -> None:
        if kwargs["input_ids"].shape[1] > 20:
            raise torch.OutOfMemoryError("no memory")

    hook = model.register_forward_pre_hook(no_memory, with_kwargs=True)
    outcomes = await engine.read_labels(prompts, LABELS)
    assert [type(outcome) for outcome in outcomes] == [EngineFailed, EngineFailed, LabelLogprobs]
    assert "OutOfMemoryError" in str(outcomes[0])
    with pytest.raises(EngineFailed):
        await engine.read_labels(prompts[:2], LABELS)
    hook.remove()
    assert await engine.read_labels(prompts, LABELS) == right


def slow(model: Any, seconds_s: float) -> tuple[list[int], threading.Event]:
    """Each pass takes this long; returns the list of passes' row counts, which grows, and whether one has begun."""
    passes: list[int] = []
    begun = threading.Event()

    def wait(_: Any, args: Any, kwargs: Any) -> None:
        passes.append(len(kwargs["input_ids"]))
        begun.set()
        time.sleep(seconds_s)

    model.register_forward_pre_hook(wait, with_kwargs=True)
    return passes, begun


async def test_the_event_loop_runs_while_the_model_works(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model()
    slow(model, 0.3)
    work = asyncio.ensure_future(engine.read_labels([Prompt((), (1, 2))], LABELS))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns >= 5


async def test_a_cancelled_read_ends_before_its_next_pass(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model(max_batch_tokens=1)
    passes, begun = slow(model, 0.1)
    work = asyncio.ensure_future(engine.read_labels([Prompt((), ids(3, i)) for i in range(20)], LABELS))
    await asyncio.to_thread(begun.wait)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    outcomes = await engine.read_labels([Prompt((), (1, 2))], LABELS)
    assert isinstance(outcomes[0], LabelLogprobs)
    assert len(passes) <= 4, "two at most before the cancelling was seen, one of the second read"


async def test_an_abandoned_prompt_is_not_computed_any_more(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model(max_batch_tokens=1)
    passes, begun = slow(model, 0.1)
    prompts = [Prompt((), ids(3, i)) for i in range(20)]
    work = asyncio.ensure_future(engine.read_labels(prompts, LABELS))
    await asyncio.to_thread(begun.wait)
    for prompt in prompts[4:]:
        engine.cancel(prompt)
    outcomes = await work
    assert isinstance(outcomes[0], LabelLogprobs) and isinstance(outcomes[-1], EngineFailed)
    assert len(passes) <= 5
    engine.cancel(prompts[-1])
    assert isinstance((await engine.read_labels(prompts[-1:], LABELS))[0], LabelLogprobs), "nothing is left of it"


async def test_stopping_answers_everybody_and_refuses_what_comes_later(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model(max_batch_tokens=1)
    _, begun = slow(model, 0.05)
    reads = [asyncio.ensure_future(engine.read_labels([Prompt((), ids(3, i))] * 10, LABELS)) for i in range(3)]
    await asyncio.to_thread(begun.wait)
    assert engine.down is None
    await engine.stop()
    assert engine.down == "the judge was stopped"
    answers: list[Any] = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), timeout=5)
    assert isinstance(answers[1], EngineFailed) and isinstance(answers[2], EngineFailed)
    first: list[Outcome] = answers[0]
    assert isinstance(first[0], LabelLogprobs) and isinstance(first[-1], EngineFailed)
    with pytest.raises(EngineFailed, match="stopped"):
        await engine.read_labels([Prompt((), (1, 2))], LABELS)
    await engine.stop()


async def test_bfloat16_reads_are_near_float32_ones(load: Load) -> None:
    engine = load(dtype="bfloat16")
    assert engine.identity.facts["dtype"] == "bfloat16"
    exact = p_met(probabilities(await load().read_labels(mixed(), LABELS)))
    rough = p_met(probabilities(await engine.read_labels(mixed(), LABELS)))
    assert rough == pytest.approx(exact, abs=0.1)
    assert rough != pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("name", ["qwen2", "mistral", "gemma2"])
async def test_workers_side_by_side_share_the_weights_and_nothing_else(
    load: Load, load_with_model: LoadWithModel, name: str
) -> None:
    (alone, model), engine = load_with_model(name), load(name, workers=2)
    first, second = replicate(model, 2)
    assert first is model and second is not model
    assert all(a.data_ptr() == b.data_ptr() for a, b in zip(first.parameters(), second.parameters(), strict=True))
    asked = [[Prompt((n, n + 1, n + 2) * 5, (n, m)) for m in range(1, 6)] for n in range(1, 41)]
    expected = [await alone.read_labels(prompts, (5, 6)) for prompts in asked]
    found = await asyncio.gather(*(engine.read_labels(prompts, (5, 6)) for prompts in asked))
    for a, b in zip(expected, found, strict=True):
        for x, y in zip(a, b, strict=True):
            assert isinstance(x, LabelLogprobs)
            assert isinstance(y, LabelLogprobs)
            assert x.logprobs == pytest.approx(y.logprobs, abs=1e-4)
