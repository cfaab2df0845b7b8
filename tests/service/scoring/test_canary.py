"""The canary of levels: it tells drift, and is not asked again of a judge that reads none."""

import pytest

from service.clock import ManualClock
from service.engine.fake import FakeEngine
from service.errors import Unavailable
from service.modes.registry import judging_modes
from service.scheduling import Scheduler
from service.scoring.canary import LevelCanary
from service.settings import ModeSettings, SchedulingSettings
from testkit.tokenizer_families import family


class Drifting(FakeEngine):
    def drift(self) -> None:
        """Another judge answers under the same name."""
        self._seed = 1


def of(engine: FakeEngine, mode: str = "verdict") -> tuple[LevelCanary, Scheduler]:
    scheduler = Scheduler(engine, ManualClock(), SchedulingSettings())
    scheduler.start()
    modes = judging_modes(engine.identity, family("qwen"), ModeSettings())
    return LevelCanary(modes[mode, "rubricd"], scheduler), scheduler


async def test_a_drift_of_levels_is_seen_and_the_cache_is_passed_by() -> None:
    engine = Drifting()
    canary, scheduler = of(engine)
    assert (await canary.check(), await canary.check()) == (0.0, 0.0)
    assert engine.prompts == 4
    engine.drift()
    drift = await canary.check()
    assert drift is not None and drift > 0.05
    await scheduler.drain(0)


@pytest.mark.parametrize("mode", ["likert", "reasoned"])
async def test_a_judge_that_reads_no_levels_in_one_step_is_asked_nothing(mode: str) -> None:
    engine = FakeEngine()
    canary, scheduler = of(engine, mode)
    assert (await canary.check(), engine.prompts) == (None, 0)
    await scheduler.drain(0)


async def test_an_engine_that_fails_is_a_failure_and_no_drift() -> None:
    engine = FakeEngine()
    canary, scheduler = of(engine)
    await scheduler.drain(0)
    with pytest.raises(Unavailable):
        await canary.check()
