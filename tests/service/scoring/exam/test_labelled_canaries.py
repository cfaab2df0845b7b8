"""Labelled canaries tell whether P(met) still says of their labels what it said at the start."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from service.clock import ManualClock
from service.modes.calibration import Calibration, Line, Prior, SelectedCurve
from service.modes.modes import VerdictMode
from service.modes.registry import judging_modes
from service.observability import Telemetry
from service.scheduling import Scheduler
from service.scoring.exam.labelled_canaries import LabelledCanaries
from service.settings import ModeSettings, SchedulingSettings
from testkit.exam_judge import EXAM, ExamJudge
from testkit.metrics_page import Page
from testkit.tokenizer_families import family


class Watched:
    def __init__(self, canaries: LabelledCanaries, telemetry: Telemetry) -> None:
        self._canaries, self._telemetry = canaries, telemetry

    async def figures(self) -> tuple[dict[str, float], float]:
        """After the canaries were asked once more."""
        await self._canaries.check()
        page = Page(self._telemetry.exposition().decode())
        return page.named("rubricd_labelled_canaries"), page("rubricd_canary_log_loss_change")


@asynccontextmanager
async def watching(judge: ExamJudge, calibration: Calibration | None = None) -> AsyncIterator[Watched]:
    telemetry = Telemetry()
    scheduler = Scheduler(judge, ManualClock(), SchedulingSettings())
    scheduler.start()
    mode = judging_modes(judge.identity, family("qwen"), ModeSettings())["verdict", "rubricd"]
    assert isinstance(mode, VerdictMode)
    mode = replace(mode, judge=replace(mode.judge, calibration=calibration))
    yield Watched(LabelledCanaries(mode, EXAM.questions, scheduler, telemetry), telemetry)
    await scheduler.drain(0)


async def test_the_figures_are_those_of_p_met_against_the_labels() -> None:
    async with watching(ExamJudge()) as watched:
        found, change = await watched.figures()
    assert found == pytest.approx(
        {"answered": 1.0, "agreement": 1.0, "log_loss": -math.log(0.9), "brier": 0.01, "ece": 0.1}, abs=1e-6
    )
    assert change == 0.0


async def test_a_judge_that_becomes_less_sure_of_the_truth_has_a_larger_log_loss() -> None:
    judge = ExamJudge()
    async with watching(judge) as watched:
        await watched.figures()
        judge.p_met = lambda one: 0.6 if one.met else 0.4
        found, change = await watched.figures()
        judge.p_met = lambda one: 0.9 if one.met else 0.1
        _, back = await watched.figures()
    assert found["agreement"] == 1.0
    assert change == pytest.approx(math.log(0.9) - math.log(0.6), abs=1e-6)
    assert back == pytest.approx(0.0, abs=1e-6)


async def test_p_met_is_compared_as_it_is_served() -> None:
    curve = Line(slope=0.5)
    calibration = Calibration("half", "x", "verdict", "rubricd", (SelectedCurve(curve),))
    async with watching(ExamJudge(), calibration) as watched:
        found, _ = await watched.figures()
    assert found["log_loss"] == pytest.approx(-math.log(curve(0.9, None)), abs=1e-6)
    with_prior = replace(calibration, prior=Prior("criterion", "N/A"))
    async with watching(ExamJudge(), with_prior) as watched:
        found, _ = await watched.figures()
    assert found["log_loss"] == pytest.approx(-math.log(0.9), abs=1e-6), "a prior would be a second query"


async def test_what_abstains_is_in_no_figure_but_one() -> None:
    judge = ExamJudge()
    async with watching(judge) as watched:
        await watched.figures()
        judge.label_mass = lambda labels: 0.1
        found, change = await watched.figures()
    assert found["answered"] == 0.0 and change == 0.0
    assert found["log_loss"] == pytest.approx(-math.log(0.9), abs=1e-6), "the last figures stay"
