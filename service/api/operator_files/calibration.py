"""Reads the calibration file of a deployment into calibrations.

Guarantees: a file that cannot be read, or that is no calibration file of this version, stops the start with a reason.
"""

from pathlib import Path

from service.api.operator_files.reading import read_named
from service.errors import ConfigurationError
from service.modes.calibration import Calibration, Line, Prior, SelectedCurve, Steps
from service.modes.level_calibration import LevelCalibration
from service.rubrics.debias import ErrorRates
from trainer_client import wire

_MOST_BYTES = 16 * 1024 * 1024


def read_calibration_file(file: Path | None) -> tuple[list[Calibration], list[LevelCalibration]]:
    """Those of P(met), and those of levels; none without a file. Raises ConfigurationError."""
    if file is None:
        return [], []
    text = read_named("calibration", file, _MOST_BYTES)
    try:
        found = wire.parse_calibrations(text)
    except ValueError as error:
        raise ConfigurationError(f"`calibration`: {file} is no calibration file: {error}") from None
    return [_calibration(one) for one in found.calibrations], [_of_levels(one) for one in found.levels]


def _of_levels(one: wire.LevelCalibration) -> LevelCalibration:
    return LevelCalibration(one.name, one.judge, one.temperature, {len(biases): biases for biases in one.biases})


def _calibration(one: wire.Calibration) -> Calibration:
    return Calibration(
        name=one.name,
        judge=one.judge,
        mode=one.mode,
        layout=one.layout,
        prompt=one.prompt,
        curves=tuple(SelectedCurve(_curve(each.curve), each.sign, each.tag) for each in one.curves),
        prior=None if one.prior is None else Prior(one.prior.of, one.prior.text),
        threshold=one.certificate.threshold,
        rates={"positive": _rates(one.certificate.positive), "negative": _rates(one.certificate.negative)},
        document=one.model_dump(mode="json"),
    )


def _rates(found: wire.SignRates) -> ErrorRates | None:
    positive, negative, informedness = found.false_positive, found.false_negative, found.informedness
    if positive is None or negative is None or informedness is None:
        return None
    return ErrorRates(positive.value, negative.value, positive.high, negative.high, informedness.low)


def _curve(curve: wire.Line | wire.Steps) -> Line | Steps:
    if isinstance(curve, wire.Line):
        return Line(curve.slope, curve.offset, curve.prior_weight)
    return Steps(tuple(at for at, _ in curve.knots), tuple(p for _, p in curve.knots))
