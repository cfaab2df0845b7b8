"""Watches the judge while it serves: the canaries on a timer, and the labelled ones among them now and then.

Guarantees: what fails is counted and logged, and the watch goes on.
"""

import logging
from collections.abc import Awaitable
from typing import TypeVar

from service.clock import Clock
from service.errors import RubricdError
from service.observability import Telemetry
from service.scoring.canary import Canary, LevelCanary
from service.scoring.exam.labelled_canaries import LabelledCanaries

T = TypeVar("T")
log = logging.getLogger(__name__)

LABELLED_EVERY = 12
"""The labelled canaries are asked each time that the others were asked so often: hourly, by default."""


async def watch(
    canary: Canary,
    labelled: LabelledCanaries | None,
    every_s: float,
    clock: Clock,
    telemetry: Telemetry,
    *,
    levels: LevelCanary | None = None,
) -> None:
    """Asks the labelled canaries at once, where they have no answers yet; then all of them every so many seconds, or
    never again where that is 0. The drift is the larger one of plain criteria and of `levels`. Runs until it is
    cancelled."""
    if labelled is not None and not labelled.answered:
        await _unless_it_fails(labelled.check(), telemetry)
    rounds = 0
    while every_s > 0:
        await clock.sleep(every_s)
        rounds += 1
        drift = await _unless_it_fails(canary.check(), telemetry)
        of_levels = None if levels is None else await _unless_it_fails(levels.check(), telemetry)
        if drifts := [one for one in (drift, of_levels) if one is not None]:
            telemetry.set_canary_drift(max(drifts))
        if labelled is not None and rounds % LABELLED_EVERY == 0:
            await _unless_it_fails(labelled.check(), telemetry)


async def _unless_it_fails(asking: Awaitable[T], telemetry: Telemetry) -> T | None:
    try:
        return await asking
    except RubricdError as error:
        telemetry.count_canary_failure(error.code)
        log.warning("the canaries were not answered: %s: %s", error.code, error)
    except Exception:  # a bug: a watch that ended here would look like a judge that does not drift
        telemetry.count_canary_failure(RubricdError.code)
        log.exception("the canaries could not be asked")
    return None
