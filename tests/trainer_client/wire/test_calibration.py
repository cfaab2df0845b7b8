"""The calibration file: what is written is read, and what is none is refused with its place."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from testkit.calibrations import calibration, line
from trainer_client import wire

STEPS = wire.CalibrationCurve(curve=wire.Steps(knots=((-1.0, 0.1), (2.0, 0.9))))


def test_what_is_written_is_read_and_equal_calibrations_are_equal_bytes() -> None:
    calibrations = (
        calibration("a", line(2.0, -0.5, sign="negative"), line(0.5, 1.0, tag=("theme", "facts")), STEPS),
        calibration("b", line(1.0, 0.0, 1.0), prior=wire.Prior(of="criterion", text="N/A")),
    )
    text = wire.write_calibrations(calibrations)
    assert wire.read_calibrations(text.encode()) == calibrations
    reordered = json.dumps(dict(reversed(json.loads(text).items()))).encode()
    assert wire.write_calibrations(wire.read_calibrations(reordered)) == text


def test_the_name_is_another_one_where_anything_is() -> None:
    one = calibration("a", line(2.0))
    others = [calibration("a", line(2.5)), calibration("b", line(2.0)), calibration("a", line(2.0), prompt="short")]
    assert one.name == calibration("a", line(2.0)).name
    assert len({one.name, *(other.name for other in others)}) == 4
    assert one.name.startswith("platt-")


def unknown(document: dict[str, Any]) -> None:
    document["calibrations"][0]["curves"][0]["curve"]["power"] = 2


def text_for_number(document: dict[str, Any]) -> None:
    document["calibrations"][0]["data"]["met"] = "200"


def falls(document: dict[str, Any]) -> None:
    document["calibrations"][0]["curves"][0]["curve"] = {"kind": "steps", "knots": [[0.0, 0.9], [1.0, 0.1]]}


def turns(document: dict[str, Any]) -> None:
    document["calibrations"][0]["curves"][0]["curve"]["slope"] = -1.0


def not_for_all(document: dict[str, Any]) -> None:
    document["calibrations"][0]["curves"][0]["sign"] = "negative"


def no_prior(document: dict[str, Any]) -> None:
    document["calibrations"][0]["curves"][0]["curve"]["prior_weight"] = 1.0


def outside(document: dict[str, Any]) -> None:
    document["calibrations"][0]["gain"]["ece"]["value"] = 5.0


def twice(document: dict[str, Any]) -> None:
    document["calibrations"] *= 2


def another_version(document: dict[str, Any]) -> None:
    document["format"] = "rubricd-calibration-2"


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (unknown, "curves.0.curve.line.power"),
        (text_for_number, "data.met"),
        (falls, "must rise"),
        (turns, "slope"),
        (not_for_all, "must be for all criteria"),
        (no_prior, "there is no `prior`"),
        (outside, "in order"),
        (twice, "two calibrations"),
        (another_version, "format"),
    ],
)
def test_what_is_no_calibration_file_is_refused_with_its_place(
    spoil: Callable[[dict[str, Any]], None], place: str
) -> None:
    document = json.loads(wire.write_calibrations([calibration("a", line(2.0))]))
    spoil(document)
    with pytest.raises(ValueError, match=place):
        wire.read_calibrations(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("text", "why"), [(b"", "EOF"), (b"[]", "object"), (b'{"format": 1, "format": 2}', "twice"), (b"\xff", "JSON")]
)
def test_what_is_no_such_json_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        wire.read_calibrations(text)
