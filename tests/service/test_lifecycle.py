"""Tests of the lifecycle: its transitions, legal and illegal, and what it does in each state. No web framework."""

import asyncio
import itertools
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

import pytest

from service.errors import ConfigurationError, Unavailable
from service.lifecycle import TRANSITIONS, IllegalTransition, Lifecycle, State

STATES: tuple[State, ...] = get_args(State)
LEGAL = {
    ("loading", "ready"),
    ("loading", "failed"),
    ("loading", "draining"),
    ("ready", "draining"),
    ("failed", "draining"),
    ("draining", "stopped"),
}


@dataclass
class FakeJudge:
    unavailable_reason: str | None = None
    dead: bool = False
    load_tokens: int = 0
    graces: list[float] = field(default_factory=list)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    async def drain(self, grace_s: float) -> None:
        self.graces.append(grace_s)
        if grace_s > 0:
            await self.finished.wait()
        self.finished.set()


def in_state(state: State, judge: FakeJudge | None = None) -> Lifecycle[FakeJudge]:
    """A lifecycle that came there by legal transitions."""
    lifecycle = Lifecycle[FakeJudge]()
    if state == "ready":
        lifecycle.serve(judge or FakeJudge())
    elif state == "failed":
        lifecycle.fail(ConfigurationError("no such model"))
    elif state in ("draining", "stopped"):
        lifecycle._move("draining")  # only a running lifecycle drains, and there it does not stand still
        if state == "stopped":
            lifecycle._move("stopped")
    assert lifecycle.state == state
    return lifecycle


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATES, STATES)))
def test_a_transition_is_legal_or_refused(before: State, after: State) -> None:
    lifecycle = in_state(before)
    if (before, after) in LEGAL:
        lifecycle._move(after)
        assert lifecycle.state == after
    else:
        with pytest.raises(IllegalTransition, match=f"from {before} to {after}"):
            lifecycle._move(after)
        assert lifecycle.state == before


def test_the_table_of_transitions_is_complete() -> None:
    assert set(TRANSITIONS) == set(STATES)
    assert {(before, after) for before, targets in TRANSITIONS.items() for after in targets} == LEGAL


@pytest.mark.parametrize("state", ["ready", "failed", "draining", "stopped"])
def test_a_judge_that_comes_too_late_never_serves(state: State) -> None:
    lifecycle, late = in_state(state), FakeJudge()
    called: list[str] = []
    lifecycle._on_ready = lambda: called.append("ready")
    with pytest.raises(IllegalTransition):
        lifecycle.serve(late)
    assert called == []
    if state != "ready":
        with pytest.raises(Unavailable):
            lifecycle.judge()
    else:
        assert lifecycle.judge() is not late


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("loading", "the judge is loading"),
        ("ready", None),
        ("failed", "the judge is not working; see the service's log"),
        ("draining", "the service is shutting down"),
        ("stopped", "the service is shutting down"),
    ],
)
def test_it_says_why_it_is_not_ready(state: State, reason: str | None) -> None:
    lifecycle = in_state(state)
    assert lifecycle.why_not_ready == reason
    assert lifecycle.shutting_down == (state in ("draining", "stopped"))
    if reason is None:
        assert isinstance(lifecycle.judge(), FakeJudge)
    else:
        with pytest.raises(Unavailable, match=reason):
            lifecycle.judge()


def test_a_ready_judge_may_be_unavailable_for_a_while() -> None:
    lifecycle = in_state("ready", judge := FakeJudge())
    judge.unavailable_reason = "the engine restarts"
    assert lifecycle.why_not_ready == "the engine restarts"
    with pytest.raises(Unavailable, match="the engine restarts"):
        lifecycle.judge()
    judge.unavailable_reason = None
    assert lifecycle.judge() is judge


def test_the_load_and_the_death_are_the_judges() -> None:
    lifecycle = in_state("loading")
    assert (lifecycle.load_tokens, lifecycle.dead) == (0, False)
    lifecycle.serve(FakeJudge(load_tokens=1234, dead=True))
    assert (lifecycle.load_tokens, lifecycle.dead) == (1234, True)


async def _ready(lifecycle: Lifecycle[FakeJudge]) -> None:
    while lifecycle.state == "loading":
        await asyncio.sleep(0)


def _load(judge: FakeJudge) -> Callable[[], "asyncio.Future[FakeJudge]"]:
    def load() -> asyncio.Future[FakeJudge]:
        loaded: asyncio.Future[FakeJudge] = asyncio.get_running_loop().create_future()
        loaded.set_result(judge)
        return loaded

    return load


async def test_it_loads_serves_and_drains_when_it_is_left() -> None:
    judge, called = FakeJudge(), list[str]()
    judge.finished.set()
    lifecycle = Lifecycle[FakeJudge](on_ready=lambda: called.append("ready"))
    async with lifecycle.running(_load(judge), drain_s=5.0):
        await _ready(lifecycle)
        assert (lifecycle.state, called, judge.graces) == ("ready", ["ready"], [])
        assert not lifecycle.drained.is_set()
    assert (lifecycle.state, judge.graces) == ("stopped", [5.0])
    assert lifecycle.drained.is_set() and not lifecycle.loading_cancelled


async def test_drain_refuses_new_work_and_waits_for_what_was_accepted() -> None:
    judge = FakeJudge()
    lifecycle = Lifecycle[FakeJudge]()
    async with lifecycle.running(_load(judge), drain_s=5.0):
        await _ready(lifecycle)
        lifecycle.drain()
        lifecycle.drain()
        await asyncio.sleep(0.01)
        assert (lifecycle.state, judge.graces) == ("draining", [5.0])
        judge.finished.set()
        await lifecycle.drained.wait()
        assert lifecycle.state == "stopped"
        lifecycle.drain()
        await asyncio.sleep(0.01)
    assert judge.graces == [5.0]


async def test_cut_short_gives_what_is_left_no_more_time() -> None:
    judge = FakeJudge()
    lifecycle = Lifecycle[FakeJudge]()
    async with lifecycle.running(_load(judge), drain_s=1e9):
        await _ready(lifecycle)
        lifecycle.cut_short()
        await asyncio.sleep(0.01)
        assert (lifecycle.state, judge.graces) == ("ready", [])  # it ends nothing by itself
        lifecycle.drain()
        await lifecycle.drained.wait()
    assert judge.graces == [1e9, 0.0]


async def test_draining_while_loading_cancels_the_loading() -> None:
    cancelled = asyncio.Event()

    async def load() -> FakeJudge:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    lifecycle = Lifecycle[FakeJudge]()
    async with lifecycle.running(load, drain_s=5.0):
        await asyncio.sleep(0)
        lifecycle.drain()
        await lifecycle.drained.wait()
        assert cancelled.is_set() and lifecycle.state == "stopped"
        assert lifecycle.loading_cancelled


async def test_a_judge_that_is_loaded_as_draining_begins_does_not_serve() -> None:
    """The loading ends and the draining begins in one turn of the event loop, in this order."""
    loaded = asyncio.Event()
    called: list[str] = []

    async def load() -> FakeJudge:
        await loaded.wait()
        return FakeJudge()

    lifecycle = Lifecycle[FakeJudge](
        on_ready=lambda: called.append("ready"), on_failed=lambda error: called.append("failed")
    )
    async with lifecycle.running(load, drain_s=5.0):
        await asyncio.sleep(0)
        lifecycle.drain()
        loaded.set()
        await lifecycle.drained.wait()
    assert called == [] and lifecycle.loading_cancelled


async def test_a_judge_that_cannot_be_loaded_fails_the_lifecycle_which_still_ends() -> None:
    heard: list[BaseException] = []
    error = ConfigurationError("no such model")

    async def load() -> FakeJudge:
        raise error

    lifecycle = Lifecycle[FakeJudge](on_failed=heard.append)
    async with lifecycle.running(load, drain_s=5.0):
        await _ready(lifecycle)
        assert (lifecycle.state, heard) == ("failed", [error])
        lifecycle.drain()
        await lifecycle.drained.wait()
        assert lifecycle.why_not_ready == "the service is shutting down"
    assert lifecycle.state == "stopped" and not lifecycle.loading_cancelled


async def test_it_drains_also_when_it_is_left_by_an_error() -> None:
    judge = FakeJudge()
    judge.finished.set()
    lifecycle = Lifecycle[FakeJudge]()
    with pytest.raises(ZeroDivisionError):
        async with lifecycle.running(_load(judge), drain_s=5.0):
            await _ready(lifecycle)
            raise ZeroDivisionError
    assert (lifecycle.state, judge.graces) == ("stopped", [5.0])


async def test_a_signal_handler_may_drain() -> None:
    judge = FakeJudge()
    judge.finished.set()
    lifecycle = Lifecycle[FakeJudge]()
    async with lifecycle.running(_load(judge), drain_s=5.0):
        await _ready(lifecycle)
        before = signal.signal(signal.SIGUSR1, lambda *_: lifecycle.drain())
        try:
            signal.raise_signal(signal.SIGUSR1)
            await lifecycle.drained.wait()
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert lifecycle.state == "stopped"


def test_before_it_runs_there_is_nothing_to_end() -> None:
    lifecycle = Lifecycle[FakeJudge]()
    lifecycle.drain()
    lifecycle.cut_short()
    assert lifecycle.state == "loading"
