"""Tests of the lifecycle: its transitions, legal and illegal, and what it does in each state. No web framework."""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import get_args

import pytest

from service.errors import ConfigurationError, Unavailable
from service.lifecycle import TRANSITIONS, IllegalTransition, Lifecycle, State, check_transition
from testkit.waiting import until

STATES: tuple[State, ...] = get_args(State)
LEGAL = {
    ("loading", "ready"),
    ("loading", "failed"),
    ("loading", "draining"),
    ("ready", "draining"),
    ("ready", "unavailable"),
    ("unavailable", "ready"),
    ("unavailable", "draining"),
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

    @property
    def refuses_all(self) -> str | None:
        return self.unavailable_reason

    async def drain(self, grace_s: float) -> None:
        self.graces.append(grace_s)
        if grace_s > 0:
            await self.finished.wait()
        self.finished.set()


@asynccontextmanager
async def in_state(
    state: State, judge: FakeJudge | None = None, on_ready: Callable[[], None] = lambda: None
) -> AsyncIterator[Lifecycle[FakeJudge]]:
    """A running lifecycle in this state, reached as the service reaches it."""
    judge = judge or FakeJudge()
    may_end = asyncio.Event()

    async def load() -> FakeJudge:
        if state == "loading":
            await may_end.wait()
        if state == "failed":
            raise ConfigurationError("no such model")
        return judge

    lifecycle = Lifecycle[FakeJudge](on_ready=on_ready)
    async with lifecycle.running(load, drain_s=5.0):
        if state != "loading":
            await loaded(lifecycle)
        if state in ("draining", "stopped"):
            lifecycle.drain()
            await asyncio.sleep(0.01)
        if state == "stopped":
            judge.finished.set()
            await lifecycle.drained.wait()
        assert lifecycle.state == state
        yield lifecycle
        judge.finished.set()


async def loaded(lifecycle: Lifecycle[FakeJudge]) -> None:
    while lifecycle.state == "loading":
        await asyncio.sleep(0)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATES, STATES)))
def test_a_transition_is_legal_or_refused(before: State, after: State) -> None:
    if (before, after) in LEGAL:
        check_transition(before, after)
    else:
        with pytest.raises(IllegalTransition, match=f"from {before} to {after}"):
            check_transition(before, after)


def test_the_table_of_transitions_is_complete() -> None:
    assert set(TRANSITIONS) == set(STATES)
    assert {(before, after) for before, targets in TRANSITIONS.items() for after in targets} == LEGAL


@pytest.mark.parametrize("state", ["ready", "failed", "draining", "stopped"])
async def test_a_judge_that_comes_too_late_never_serves_and_breaks_nothing(state: State) -> None:
    called: list[str] = []
    async with in_state(state, judge := FakeJudge(), on_ready=lambda: called.append("ready")) as lifecycle:
        with pytest.raises(IllegalTransition):
            lifecycle.serve(FakeJudge())
        assert lifecycle.state == state
        assert called == ([] if state == "failed" else ["ready"])  # the first one's
        if state == "ready":
            assert lifecycle.judge() is judge
        else:
            with pytest.raises(Unavailable):
                lifecycle.judge()


@pytest.mark.parametrize("state", ["ready", "failed", "draining", "stopped"])
async def test_what_has_loaded_or_ended_cannot_fail_any_more(state: State) -> None:
    async with in_state(state) as lifecycle:
        with pytest.raises(IllegalTransition):
            lifecycle.fail(ConfigurationError("too late"))
        assert lifecycle.state == state


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
async def test_it_says_why_it_is_not_ready(state: State, reason: str | None) -> None:
    async with in_state(state) as lifecycle:
        assert lifecycle.why_not_ready == reason
        assert lifecycle.shutting_down == (state in ("draining", "stopped"))
        if reason is None:
            assert isinstance(lifecycle.judge(), FakeJudge)
        else:
            with pytest.raises(Unavailable, match=reason):
                lifecycle.judge()


async def test_a_ready_judge_may_be_unavailable_for_a_while() -> None:
    async with in_state("ready", judge := FakeJudge()) as lifecycle:
        judge.unavailable_reason = "the engine restarts"
        assert (lifecycle.state, lifecycle.why_not_ready) == ("unavailable", "the engine restarts")
        with pytest.raises(Unavailable, match="the engine restarts"):
            lifecycle.judge()
        judge.unavailable_reason = None
        assert (lifecycle.state, lifecycle.judge()) == ("ready", judge)


async def test_a_judge_that_is_unavailable_drains_like_one_that_is_ready() -> None:
    async with in_state("ready", judge := FakeJudge(unavailable_reason=None)) as lifecycle:
        judge.unavailable_reason = "its server does not answer"
        lifecycle.drain()
        await until(lambda: judge.graces)
        assert (lifecycle.state, judge.graces) == ("draining", [5.0])
        assert lifecycle.why_not_ready == "the service is shutting down"


def test_the_load_and_the_death_are_the_judges() -> None:
    lifecycle = Lifecycle[FakeJudge]()
    assert (lifecycle.load_tokens, lifecycle.dead) == (0, False)
    lifecycle.serve(FakeJudge(load_tokens=1234, dead=True))
    assert (lifecycle.load_tokens, lifecycle.dead) == (1234, True)


def _load(judge: FakeJudge) -> Callable[[], "asyncio.Future[FakeJudge]"]:
    def load() -> asyncio.Future[FakeJudge]:
        found: asyncio.Future[FakeJudge] = asyncio.get_running_loop().create_future()
        found.set_result(judge)
        return found

    return load


async def test_it_loads_serves_and_drains_when_it_is_left() -> None:
    judge, called = FakeJudge(), list[str]()
    judge.finished.set()
    lifecycle = Lifecycle[FakeJudge](on_ready=lambda: called.append("ready"))
    async with lifecycle.running(_load(judge), drain_s=5.0):
        await loaded(lifecycle)
        assert (lifecycle.state, called, judge.graces) == ("ready", ["ready"], [])
        assert not lifecycle.drained.is_set()
    assert (lifecycle.state, judge.graces) == ("stopped", [5.0])
    assert lifecycle.drained.is_set() and not lifecycle.loading_cancelled


async def test_drain_refuses_new_work_and_waits_for_what_was_accepted() -> None:
    judge = FakeJudge()
    lifecycle = Lifecycle[FakeJudge]()
    async with lifecycle.running(_load(judge), drain_s=5.0):
        await loaded(lifecycle)
        lifecycle.drain()
        lifecycle.drain()
        await until(lambda: judge.graces)
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
        await loaded(lifecycle)
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
    may_end = asyncio.Event()
    called: list[str] = []

    async def load() -> FakeJudge:
        await may_end.wait()
        return FakeJudge()

    lifecycle = Lifecycle[FakeJudge](
        on_ready=lambda: called.append("ready"), on_failed=lambda error: called.append("failed")
    )
    async with lifecycle.running(load, drain_s=5.0):
        await asyncio.sleep(0)
        lifecycle.drain()
        may_end.set()
        await lifecycle.drained.wait()
    assert called == [] and lifecycle.loading_cancelled


async def test_a_judge_that_cannot_be_loaded_fails_the_lifecycle_which_still_ends() -> None:
    heard: list[BaseException] = []
    error = ConfigurationError("no such model")

    async def load() -> FakeJudge:
        raise error

    lifecycle = Lifecycle[FakeJudge](on_failed=heard.append)
    async with lifecycle.running(load, drain_s=5.0):
        await loaded(lifecycle)
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
            await loaded(lifecycle)
            raise ZeroDivisionError
    assert (lifecycle.state, judge.graces) == ("stopped", [5.0])


async def test_a_signal_handler_may_drain() -> None:
    judge = FakeJudge()
    judge.finished.set()
    lifecycle = Lifecycle[FakeJudge]()
    async with lifecycle.running(_load(judge), drain_s=5.0):
        await loaded(lifecycle)
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


async def test_an_error_of_a_load_that_was_cancelled_is_reported() -> None:
    """What fails while it is being stopped is no change of state, and is not lost either."""
    errors: list[BaseException] = []

    async def load() -> FakeJudge:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ConfigurationError("its processes would not end") from None
        return FakeJudge()

    lifecycle = Lifecycle[FakeJudge](on_failed=errors.append)
    async with lifecycle.running(load, drain_s=5.0):
        await asyncio.sleep(0)
    assert [str(error) for error in errors] == ["its processes would not end"]
    assert lifecycle.state == "stopped"
