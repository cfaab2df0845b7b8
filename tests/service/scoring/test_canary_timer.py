"""Canaries are asked on a timer, the labelled ones each twelfth time, and a failure stops nothing."""

import asyncio
import logging

import pytest

from service.clock import ManualClock, settle
from service.errors import EngineFailed
from service.observability import Telemetry
from service.scoring.canary_timer import LABELLED_EVERY, watch
from testkit.metrics_page import Page


class Counted:
    """Stands for the canaries, of either sort."""

    answered = False

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.failure: Exception = EngineFailed("gone")

    async def check(self) -> float:
        self.asked += 1
        if self.fails:
            raise self.failure
        return 0.25


async def watched(every_s: float, canary: Counted, labelled: Counted | None, telemetry: Telemetry, rounds: int) -> None:
    clock = ManualClock()
    watching = asyncio.create_task(watch(canary, labelled, every_s, clock, telemetry))  # type: ignore[arg-type]
    await settle()
    for _ in range(rounds):
        await clock.advance(every_s)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_the_labelled_ones_are_asked_at_once_and_each_twelfth_time() -> None:
    canary, labelled, telemetry = Counted(), Counted(), Telemetry()
    await watched(300.0, canary, labelled, telemetry, 2 * LABELLED_EVERY)
    assert (canary.asked, labelled.asked) == (24, 3)
    assert Page(telemetry.exposition().decode())("rubricd_canary_drift") == 0.25


@pytest.mark.parametrize(("of_levels", "drift"), [(0.5, 0.5), (0.1, 0.25), (None, 0.25)])
async def test_the_drift_is_the_larger_one_of_plain_criteria_and_of_levels(
    of_levels: float | None, drift: float
) -> None:
    """Where the canary of levels fails or there is none, it is that of plain criteria."""

    class Levels:
        async def check(self) -> float | None:
            return of_levels

    for levels in (Levels(), Failing() if of_levels is None else Levels()):
        telemetry, clock = Telemetry(), ManualClock()
        work = watch(Counted(), None, 300.0, clock, telemetry, levels=levels)  # type: ignore[arg-type]
        watching = asyncio.create_task(work)
        await settle()
        await clock.advance(300.0)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert Page(telemetry.exposition().decode())("rubricd_canary_drift") == drift


class Failing:
    async def check(self) -> float:
        raise EngineFailed("gone")


async def test_what_the_exam_has_answered_is_not_asked_again_at_once() -> None:
    canary, labelled = Counted(), Counted()
    labelled.answered = True
    await watched(300.0, canary, labelled, Telemetry(), LABELLED_EVERY - 1)
    assert (canary.asked, labelled.asked) == (11, 0)


async def test_never_again_is_once() -> None:
    canary, labelled = Counted(), Counted()
    await watched(0.0, canary, labelled, Telemetry(), 3)
    assert (canary.asked, labelled.asked) == (0, 1)


async def test_there_is_no_drift_before_the_second_look() -> None:
    """0 would say that nothing has changed, where nobody looked: before the first time, and while it fails."""
    telemetry, failing = Telemetry(), Counted()
    failing.fails = True
    await watched(300.0, Counted(), None, telemetry, 0)
    await watched(300.0, failing, None, telemetry, 3)
    assert failing.asked == 3 and not Page(telemetry.exposition().decode()).has("rubricd_canary_drift")
    await watched(300.0, Counted(), None, telemetry, 1)
    assert Page(telemetry.exposition().decode())("rubricd_canary_drift") == 0.25


async def test_a_failure_is_counted_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    canary, labelled, telemetry = Counted(), Counted(), Telemetry()
    canary.fails = labelled.fails = True
    with caplog.at_level(logging.WARNING):
        await watched(300.0, canary, labelled, telemetry, LABELLED_EVERY)
    assert (canary.asked, labelled.asked) == (12, 2)
    assert Page(telemetry.exposition().decode())("rubricd_canary_failures_total", code="engine_error") == 14
    assert "the canaries were not answered: engine_error: gone" in caplog.text


async def test_a_bug_is_counted_too_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    canary, telemetry = Counted(), Telemetry()
    canary.fails, canary.failure = True, IndexError("a bug")
    await watched(300.0, canary, None, telemetry, 3)
    assert canary.asked == 3
    assert Page(telemetry.exposition().decode())("rubricd_canary_failures_total", code="internal") == 3
    assert "the canaries could not be asked" in caplog.text
