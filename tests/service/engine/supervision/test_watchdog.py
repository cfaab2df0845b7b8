"""Silence counts while there is work and the loop runs; what the watchdog does then is in each engine's tests."""

import pytest

from service.clock import ManualClock
from service.engine.supervision import watchdog
from service.engine.supervision.watchdog import HangDetector


async def test_silence_counts_while_there_is_work_and_the_loop_runs() -> None:
    clock = ManualClock()
    detector = HangDetector(clock)

    async def poll(after_s: float, *, busy: bool, outputs: int) -> float:
        await clock.advance(after_s)
        return detector.silent_s(busy, outputs)

    assert await poll(0.1, busy=True, outputs=0) == pytest.approx(0.1)
    assert await poll(0.1, busy=True, outputs=0) == pytest.approx(0.2)
    assert await poll(30.0, busy=True, outputs=0) == pytest.approx(0.2 + 3 * watchdog.POLL_S), "it stood still"
    assert await poll(0.1, busy=True, outputs=1) == 0.0
    assert await poll(0.1, busy=True, outputs=1) == pytest.approx(0.1)
    assert await poll(0.1, busy=False, outputs=1) == 0.0
