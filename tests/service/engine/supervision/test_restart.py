"""A start that fails is tried again after a pause, and whoever asks learns why."""

import asyncio
import itertools

from service.clock import ManualClock
from service.engine.supervision.restart import restart_pauses_s, restart_until_it_runs
from service.errors import ConfigurationError


async def test_it_is_tried_again_after_growing_pauses_until_it_runs() -> None:
    clock = ManualClock()
    began_s: list[float] = []
    reasons: list[str] = []

    async def start() -> str:
        began_s.append(clock.now())
        if len(began_s) < 4:
            raise ConfigurationError(f"no memory, {len(began_s)}")
        return "runs"

    restarting = asyncio.create_task(restart_until_it_runs("it", clock, start, reasons.append))
    await clock.advance(10.0)
    assert restarting.done() and restarting.result() == "runs"
    assert (began_s, reasons) == ([0.0, 1.0, 3.0, 7.0], ["no memory, 1", "no memory, 2", "no memory, 3"])


def test_pauses_between_restarts_grow_to_a_minute() -> None:
    assert list(itertools.islice(restart_pauses_s(), 8)) == [1, 2, 4, 8, 16, 32, 60, 60]
