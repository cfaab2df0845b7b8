"""What a calibration makes of the probabilities of levels, and whose it is."""

import math
import random
from dataclasses import replace

import pytest

from service.engine.fake import FakeEngine
from service.errors import ConfigurationError
from service.modes.calibrated_modes import calibrated_levels, calibrated_modes
from service.modes.fingerprint import JudgeIdentity
from service.modes.level_calibration import LevelCalibration
from service.modes.modes import ReasonedMode, VerdictMode
from service.modes.registry import judging_modes
from service.settings import ModeSettings
from testkit.tokenizer_families import family


def made(judge: str = "j", temperature: float = 2.0, **biases: list[float]) -> LevelCalibration:
    return LevelCalibration("levels-vector-1", judge, temperature, {len(one): one for one in biases.values()})


def test_5_000_distributions_stay_distributions_in_the_order_of_a_temperature() -> None:
    rng = random.Random(0)
    for _ in range(5_000):
        weights = [rng.choice((0.0, 1e-300, rng.random())) for _ in range(rng.randint(2, 10))]
        total = sum(weights) or 1.0
        p = [one / total for one in weights]
        if not sum(p):
            continue
        found = made(temperature=rng.choice((0.05, 0.5, 3.0, 100.0)))(p)
        assert sum(found) == pytest.approx(1) and all(0 <= one <= 1 for one in found)
        assert found[p.index(max(p))] == max(found)


def test_one_that_changes_nothing_gives_the_same_numbers() -> None:
    p = (0.1, 0.7, 0.2)
    assert made(temperature=1.0)(p) == p
    assert made(temperature=1.0, three=[0.0, 0.0, 0.0])(p) == p


def test_a_bias_is_for_criteria_with_as_many_options() -> None:
    calibration = made(temperature=1.0, three=[math.log(4), 0.0, 0.0])
    assert calibration((0.2, 0.6, 0.2)) == pytest.approx((0.5, 0.375, 0.125))
    assert calibration((0.2, 0.8)) == (0.2, 0.8)


def test_a_calibrated_reading_is_another_judge_with_the_same_kept_verdicts() -> None:
    modes = dict(judging_modes(FakeEngine().identity, family("qwen"), ModeSettings()))
    plain = modes["verdict", "rubricd"]
    assert isinstance(plain, VerdictMode) and plain.readings.levels is not None
    own = made(plain.readings.levels.judge.uncalibrated)
    found = calibrated_modes(calibrated_levels(modes, [own]), [], escalates=False)["verdict", "rubricd"]
    assert isinstance(found, VerdictMode) and found.readings.levels is not None
    reading = found.readings.levels.judge
    assert reading.fingerprint != reading.uncalibrated == own.judge
    assert found.judge.readings["levels"] == reading.fingerprint
    assert (found.judge.level_calibration, found.judge.calibration) == (own, None)
    assert found.judge.fingerprint != plain.judge.fingerprint == found.judge.uncalibrated
    assert found.renderer.graded is plain.renderer.graded, "the keys of the cache are those of the judge without it"
    other = calibrated_modes(calibrated_levels(modes, [replace(own, name="other")]), [], escalates=False)
    assert other["verdict", "rubricd"].judge.fingerprint != found.judge.fingerprint


def test_one_of_another_judge_is_refused() -> None:
    modes = dict(judging_modes(FakeEngine().identity, family("qwen"), ModeSettings()))
    with pytest.raises(ConfigurationError, match="made for judge elsewhere, which reads no levels here"):
        calibrated_levels(modes, [made("elsewhere")])


def test_who_takes_second_opinions_on_calibrated_levels_is_another_judge() -> None:
    modes = dict(judging_modes(FakeEngine().identity, family("qwen"), ModeSettings(escalate_band=0.1)))
    reasoned = modes["reasoned", "rubricd"]
    assert isinstance(reasoned, ReasonedMode) and reasoned.readings.levels is not None
    own = made(reasoned.readings.levels.judge.uncalibrated)

    def verdict_by(*calibrations: LevelCalibration, escalates: bool = True) -> JudgeIdentity:
        found = calibrated_modes(calibrated_levels(modes, calibrations), [], escalates=escalates)
        return found["verdict", "rubricd"].judge

    plain = modes["verdict", "rubricd"].judge
    prints = {plain.fingerprint, *(verdict_by(one).fingerprint for one in (own, replace(own, name="other")))}
    assert len(prints) == 3
    assert verdict_by(own).uncalibrated == plain.fingerprint
    assert verdict_by(own, escalates=False) == plain
