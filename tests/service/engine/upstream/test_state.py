"""Tests of what is known of the judge's server, by a manual clock and a scripted server."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, get_args

import pytest

from service.clock import ManualClock, settle
from service.engine.upstream.state import (
    FIRST_PROBE_S,
    HEARTBEAT_S,
    LONGEST_PAUSE_S,
    TRANSITIONS,
    Busy,
    Changed,
    IllegalState,
    State,
    Upstream,
    check_transition,
)
from service.errors import EngineFailed, JudgeBusy

STATES: tuple[State, ...] = get_args(State)


class Script:
    """A probe that does what it is told, and counts how often it was asked for what."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        self.asked: list[bool] = []

    async def __call__(self, with_verdict: bool) -> None:
        self.asked.append(with_verdict)
        self.meanwhile()
        if self.fault is not None:
            raise self.fault


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[Upstream, Script, ManualClock]]:
    clock, script = ManualClock(), Script()
    upstream = Upstream(clock, script)
    running = asyncio.create_task(upstream.run())
    try:
        yield upstream, script, clock
        assert not running.done()
    finally:
        running.cancel()


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATES, STATES)))
def test_a_change_of_state_is_in_the_table_or_refused(before: State, after: State) -> None:
    if after in TRANSITIONS[before]:
        check_transition(before, after)
    else:
        with pytest.raises(IllegalState, match=f"from {before} to {after}"):
            check_transition(before, after)


async def test_an_idle_server_is_asked_who_it_is_every_ten_seconds() -> None:
    async with watched() as (upstream, script, clock):
        await clock.advance(3 * HEARTBEAT_S)
        assert (upstream.state, script.asked) == ("up", [False] * 3)


async def test_a_failed_call_and_two_failed_probes_take_it_down_within_a_second() -> None:
    async with watched() as (upstream, script, clock):
        script.fault = ValueError()
        upstream.call_failed()
        assert (upstream.state, upstream.reason) == ("doubted", None)
        await clock.advance(FIRST_PROBE_S)
        assert (upstream.state, upstream.reason) == ("doubted", None)
        await clock.advance(2 * FIRST_PROBE_S)
        assert upstream.state == "down" and upstream.reason is not None
        assert script.asked == [True, True] and clock.now() < 1.0
        with pytest.raises(EngineFailed, match="does not answer"):
            await upstream.clear(1.0)


async def test_it_is_probed_less_and_less_often_and_is_up_as_soon_as_it_answers() -> None:
    async with watched() as (upstream, script, clock):
        script.fault = ValueError()
        upstream.call_failed()
        await clock.advance(600.0)
        assert upstream.state == "down" and 60 <= len(script.asked) <= 66
        script.fault = None
        await clock.advance(HEARTBEAT_S)
        assert (upstream.state, upstream.reason) == ("up", None)
        before = len(script.asked)
        await clock.advance(HEARTBEAT_S)
        assert script.asked[before:] == [False]
        upstream.call_failed()  # the next outage begins with quick probes again
        script.fault = ValueError()
        await clock.advance(1.0)
        assert str(upstream.state) == "down"


async def test_an_idle_server_that_dies_goes_down_without_any_call() -> None:
    async with watched() as (upstream, script, clock):
        script.fault = ValueError()
        await clock.advance(HEARTBEAT_S + 1.0)
        assert upstream.state == "down"


async def test_one_callers_bad_requests_never_take_it_down() -> None:
    """1000 failed calls, to which every probe says that the server is fine: at most a probe each 0.2 s."""
    async with watched() as (upstream, script, clock):
        for _ in range(1000):
            upstream.call_failed()
            await clock.advance(0.05)
            assert upstream.reason is None
        assert len(script.asked) <= 50 / FIRST_PROBE_S


async def test_a_probe_that_fails_while_calls_are_answered_means_nothing() -> None:
    async with watched() as (upstream, script, clock):
        script.fault, script.meanwhile = ValueError(), upstream.call_answered
        await clock.advance(10 * HEARTBEAT_S)
        assert upstream.state == "up"


async def test_a_call_that_is_answered_ends_the_doubt() -> None:
    async with watched() as (upstream, script, clock):
        upstream.call_failed()
        upstream.call_answered()
        await clock.advance(1.0)
        assert (upstream.state, script.asked) == ("up", [])


async def test_a_pause_holds_calls_until_a_probe_is_answered_after_it() -> None:
    async with watched() as (upstream, script, clock):
        upstream.pause(30.0)
        waiting = asyncio.create_task(upstream.clear(60.0))
        await clock.advance(29.0)
        assert (upstream.state, upstream.pause_s, script.asked, waiting.done()) == ("paused", 1.0, [], False)
        script.fault = Busy(5.0)
        await clock.advance(1.5)
        assert (upstream.state, upstream.pause_s, waiting.done()) == ("paused", 4.5, False)
        script.fault = None
        await clock.advance(5.0)
        await waiting
        assert (upstream.state, upstream.pause_s, script.asked) == ("up", 0.0, [True, True])


async def test_a_pause_is_as_long_as_the_longest_that_was_asked_for_up_to_a_limit() -> None:
    async with watched() as (upstream, _, clock):
        for seconds in (10.0, 40.0, 20.0):
            upstream.pause(seconds)
        assert upstream.pause_s == 40.0
        upstream.pause(1e9)
        assert upstream.pause_s == LONGEST_PAUSE_S
        await clock.advance(LONGEST_PAUSE_S)
        assert upstream.state == "up"


async def test_a_call_does_not_wait_for_ever() -> None:
    async with watched() as (upstream, _, _clock):
        upstream.pause(30.0)
        with pytest.raises(JudgeBusy):
            await upstream.clear(0.01)


async def test_a_server_that_dies_in_its_pause_fails_who_waits() -> None:
    async with watched() as (upstream, script, clock):
        upstream.pause(5.0)
        waiting = asyncio.create_task(upstream.clear(60.0))
        script.fault = ValueError()
        await clock.advance(7.0)
        await waiting  # it may be sent while there is doubt
        assert upstream.state == "down" and upstream.pause_s == 0.0


async def test_another_judge_is_refused_until_the_first_one_is_back() -> None:
    async with watched() as (upstream, script, clock):
        script.fault = Changed("root b instead of a")
        await clock.advance(HEARTBEAT_S)
        assert upstream.state == "changed" and "another judge" in str(upstream.reason)
        upstream.pause(5.0)
        assert upstream.pause_s == 0.0
        script.fault = Busy(5.0)
        await clock.advance(60.0)
        assert upstream.state == "changed"
        script.fault = ValueError()
        await clock.advance(60.0)
        assert str(upstream.state) == "down" and "does not answer" in str(upstream.reason)
        script.fault = None
        await clock.advance(HEARTBEAT_S)
        assert (upstream.state, upstream.reason) == ("up", None)


@pytest.mark.parametrize("seed", range(3))
async def test_2000_random_events_keep_to_the_table_and_end_well(seed: int) -> None:
    """In every state there is a reason exactly where no work is taken for good, and a server that answers is up."""
    chance = random.Random(seed)
    seen = set()
    async with watched() as (upstream, script, clock):
        for _ in range(2000):
            script.fault = chance.choice([None, None, ValueError(), Busy(3.0), Changed("x")])
            event: Any = chance.choice([upstream.call_failed, upstream.call_answered, None, None, upstream.pause])
            if event == upstream.pause:
                upstream.pause(chance.choice([0.5, 20.0]))
            elif event is not None:
                event()
            await clock.advance(chance.choice([0.0, 0.1, 0.5, 11.0]))
            seen.add(upstream.state)
            assert (upstream.reason is not None) == (upstream.state in ("down", "changed"))
            assert (upstream.pause_s > 0) == (upstream.state == "paused")
        script.fault = None
        await clock.advance(2 * LONGEST_PAUSE_S)
        assert (upstream.state, seen) == ("up", set(STATES))


class BrokenClock(ManualClock):
    broken = False

    def now(self) -> float:
        if self.broken:
            raise RuntimeError("no time")
        return super().now()


async def test_a_watch_that_fails_takes_no_work_and_leaves_nobody_waiting() -> None:
    clock = BrokenClock()
    upstream = Upstream(clock, Script())
    upstream.pause(5.0)
    waiting = asyncio.create_task(upstream.clear(60.0))
    await settle()
    clock.broken = True
    await upstream.run()
    assert (upstream.state, upstream.pause_s) == ("down", 0.0)
    with pytest.raises(EngineFailed, match="restart the service"):
        await waiting
