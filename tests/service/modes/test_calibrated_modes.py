"""A judge with a calibration is another judge, and its calibration is its own."""

from dataclasses import replace
from typing import Any

import pytest

from service.engine.fake import FakeEngine
from service.errors import ConfigurationError
from service.modes.calibrated_modes import calibrated_modes
from service.modes.calibration import Calibration, Line, SelectedCurve
from service.modes.modes import JudgingMode
from service.modes.registry import judging_modes
from service.settings import ModeSettings
from testkit.tokenizer_families import family

VERDICT, REASONED = ("verdict", "rubricd"), ("reasoned", "rubricd")


def modes(**settings: Any) -> dict[tuple[str, str], JudgingMode]:
    return dict(judging_modes(FakeEngine().identity, family("qwen"), ModeSettings(**settings)))


def made_for(mode: JudgingMode, name: str = "platt-1") -> Calibration:
    judge = mode.judge
    return Calibration(name, judge.fingerprint, judge.mode, judge.layout, (SelectedCurve(Line(2.0)),), judge.prompt)


def test_a_calibration_makes_another_judge_of_its_mode_and_layout_alone() -> None:
    raw = modes()
    found = calibrated_modes(raw, [made_for(raw[VERDICT])], escalates=False)
    another = calibrated_modes(raw, [made_for(raw[VERDICT], "platt-2")], escalates=False)
    prints = {each[VERDICT].judge.fingerprint for each in (raw, found, another)}
    assert len(prints) == 3
    assert {key: mode for key, mode in found.items() if key != VERDICT} == {
        key: mode for key, mode in raw.items() if key != VERDICT
    }
    assert found[VERDICT].judge.uncalibrated == raw[VERDICT].judge.fingerprint
    assert calibrated_modes(raw, [], escalates=True) == raw


def test_who_takes_calibrated_second_opinions_is_another_judge() -> None:
    raw = modes(escalate_band=0.1)
    found = calibrated_modes(raw, [made_for(raw[REASONED])], escalates=True)
    assert found[VERDICT].judge.fingerprint != raw[VERDICT].judge.fingerprint
    assert found[VERDICT].judge.calibration is None
    alone = calibrated_modes(raw, [made_for(raw[REASONED])], escalates=False)
    assert alone[VERDICT] == raw[VERDICT]


def test_a_calibration_of_another_judge_is_refused_with_both_names() -> None:
    raw = modes()
    other = Calibration("platt-1", "0123456789abcdef", "verdict", "rubricd", (SelectedCurve(Line(2.0)),), "brief")
    with pytest.raises(ConfigurationError, match=r"with prompt `brief`, which this service does not serve"):
        calibrated_modes(raw, [other], escalates=False)
    here = raw[VERDICT].judge.fingerprint
    other = replace(other, prompt=raw[VERDICT].judge.prompt)
    with pytest.raises(ConfigurationError, match=f"0123456789abcdef.*has judge {here}.*rubricd calibrate"):
        calibrated_modes(raw, [other], escalates=False)
    del raw[VERDICT]
    with pytest.raises(ConfigurationError, match="does not serve"):
        calibrated_modes(raw, [other], escalates=False)
