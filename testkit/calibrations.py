"""Calibrations with made-up figures, for tests of what reads them."""

from typing import Any

from trainer_client import wire


def interval(value: float, half: float = 0.0) -> wire.Interval:
    return wire.Interval(value=value, low=value - half, high=value + half)


def sign_rates(
    false_positive: float | None = 0.1, false_negative: float | None = 0.2, half: float = 0.02
) -> wire.SignRates:
    """Rates that are known to `half`; none where one is None."""
    known = None if false_positive is None or false_negative is None else 1 - false_positive - false_negative
    return wire.SignRates(
        met=100,
        unmet=100,
        false_positive=None if false_positive is None else interval(false_positive, half),
        false_negative=None if false_negative is None else interval(false_negative, half),
        informedness=None if known is None else interval(known, 2 * half),
    )


def calibration(judge: str, *curves: wire.CalibrationCurve, **changes: Any) -> wire.Calibration:
    """One for the judge with this fingerprint; of no curves, one that changes nothing."""
    fields: dict[str, Any] = {
        "judge": judge,
        "model": "fake",
        "mode": "verdict",
        "layout": "rubricd",
        "method": "platt" if curves else "none",
        "curves": curves or (wire.CalibrationCurve(curve=wire.Line()),),
        "data": wire.CalibrationData(digest="0" * 64, criteria=400, met=200, groups=50),
        "gain": wire.Gain(log_loss=interval(0.05, 0.01), ece=interval(0.03, 0.01)),
        "certificate": wire.Certificate(
            threshold=0.5,
            criteria=400,
            groups=50,
            ece=interval(0.02, 0.01),
            log_loss=interval(0.3, 0.05),
            brier=interval(0.1, 0.02),
            positive=sign_rates(),
            negative=sign_rates(),
        ),
    }
    return wire.Calibration(**{**fields, **changes})


def line(slope: float = 1.0, offset: float = 0.0, prior_weight: float = 0.0, **where: Any) -> wire.CalibrationCurve:
    return wire.CalibrationCurve(curve=wire.Line(slope=slope, offset=offset, prior_weight=prior_weight), **where)
