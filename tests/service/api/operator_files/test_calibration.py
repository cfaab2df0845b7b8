"""The calibration file of a deployment, at the start."""

import json
from pathlib import Path

import pytest

from service.api.operator_files.calibration import read_calibration_file
from service.errors import ConfigurationError
from service.modes.calibration import Line, Prior, SelectedCurve, Steps
from testkit.calibrations import calibration, line
from trainer_client import wire

STEPS = wire.CalibrationCurve(curve=wire.Steps(knots=((-1.0, 0.1), (2.0, 0.9))))


def test_everything_in_the_file_is_read(tmp_path: Path) -> None:
    prior = wire.Prior(of="criterion", text="N/A")
    written = calibration("a", line(2.0, -0.5, 1.0, sign="negative"), STEPS, prior=prior)
    (tmp_path / "file").write_text(wire.write_calibrations([written]))
    [found], [] = read_calibration_file(tmp_path / "file")
    assert (found.name, found.judge, found.mode, found.layout) == (written.name, "a", "verdict", "rubricd")
    assert found.curves == (
        SelectedCurve(Line(2.0, -0.5, 1.0), "negative"),
        SelectedCurve(Steps((-1.0, 2.0), (0.1, 0.9))),
    )
    assert found.prior == Prior("criterion", "N/A")
    assert wire.Calibration.model_validate_json(json.dumps(dict(found.document))) == written


def test_without_a_file_there_is_none() -> None:
    assert read_calibration_file(None) == ([], [])


@pytest.mark.parametrize("content", [None, "{}", "not JSON"])
def test_what_is_no_calibration_file_stops_the_start(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "file").write_text(content)
    with pytest.raises(ConfigurationError, match="`calibration`"):
        read_calibration_file(tmp_path / "file")
