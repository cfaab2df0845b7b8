"""The event loop runs on, callers may leave, and workers share the weights only."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from service.engine.base import LabelLogprobs, Outcome, Prompt
from service.engine.local.engine import LocalEngine, replicate
from service.errors import EngineFailed
from testkit.waiting import HUNG_S, until
from tests.service.engine.local.prompts import LABELS, ids

Load = Callable[..., LocalEngine]
LoadWithModel = Callable[..., tuple[LocalEngine, Any]]


class Held:
    """A model whose passes wait until they may go on. `passes` are their row counts."""

    def __init__(self, model: Any) -> None:
        self.passes: list[int] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        model.register_forward_pre_hook(self._wait, with_kwargs=True)

    def _wait(self, _: Any, args: Any, kwargs: Any) -> None:
        self.passes.append(len(kwargs["input_ids"]))
        self.begun.set()
        self.go_on.wait(HUNG_S)


async def test_the_event_loop_runs_while_the_model_works(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model()
    held = Held(model)
    work = asyncio.ensure_future(engine.read_labels([Prompt((), (1, 2))], LABELS))
    await until(held.begun.is_set)
    assert not work.done()
    held.go_on.set()
    await work


async def test_a_cancelled_read_ends_before_its_next_pass(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model(max_batch_tokens=1)
    held = Held(model)
    work = asyncio.ensure_future(engine.read_labels([Prompt((), ids(3, i)) for i in range(20)], LABELS))
    await until(held.begun.is_set)
    work.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    held.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    outcomes = await engine.read_labels([Prompt((), (1, 2))], LABELS)
    assert isinstance(outcomes[0], LabelLogprobs)
    assert len(held.passes) <= 4, "two at most before the cancelling was seen, one of the second read"


async def test_an_abandoned_prompt_is_not_computed_any_more(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model(max_batch_tokens=1)
    held = Held(model)
    prompts = [Prompt((), ids(3, i)) for i in range(20)]
    work = asyncio.ensure_future(engine.read_labels(prompts, LABELS))
    await until(held.begun.is_set)
    for prompt in prompts[4:]:
        engine.cancel(prompt)
    held.go_on.set()
    outcomes = await work
    assert isinstance(outcomes[0], LabelLogprobs) and isinstance(outcomes[-1], EngineFailed)
    assert len(held.passes) <= 5
    engine.cancel(prompts[-1])
    assert isinstance((await engine.read_labels(prompts[-1:], LABELS))[0], LabelLogprobs), "nothing is left of it"


async def test_stopping_answers_everybody_and_refuses_what_comes_later(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model(max_batch_tokens=1)
    held = Held(model)
    reads = [asyncio.ensure_future(engine.read_labels([Prompt((), ids(3, i))] * 10, LABELS)) for i in range(3)]
    await until(held.begun.is_set)
    assert engine.down is None
    stopping = asyncio.ensure_future(engine.stop())
    await until(lambda: engine.down is not None)
    held.go_on.set()
    await stopping
    assert engine.down == "the judge was stopped"
    answers: list[Any] = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), timeout=HUNG_S)
    assert isinstance(answers[1], EngineFailed) and isinstance(answers[2], EngineFailed)
    first: list[Outcome] = answers[0]
    assert isinstance(first[0], LabelLogprobs) and isinstance(first[-1], EngineFailed)
    with pytest.raises(EngineFailed, match="stopped"):
        await engine.read_labels([Prompt((), (1, 2))], LABELS)
    await engine.stop()


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
