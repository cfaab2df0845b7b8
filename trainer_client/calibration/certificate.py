"""Certifies a calibrated judge: its error rates by sign, its calibration error, and what the calibration gained.

Guarantees: every figure has an interval of 95 % over prompts, which holds the figure. A rate that was never seen to err
has an interval above 0 all the same, and a rate that no label could show is None.
"""

from collections.abc import Mapping

import numpy as np

from trainer_client import wire
from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import Bounded, Figure, figures, share
from trainer_client.agreement.criteria import error_rates
from trainer_client.agreement.shares import wilson
from trainer_client.calibration.curves import Bools, Floats
from trainer_client.calibration.rows import Rows

THRESHOLD = 0.5


def certify(rows: Rows, p: Floats, threshold: float = THRESHOLD) -> wire.Certificate:
    """`p` is P(met) of each row, calibrated without it."""
    found = figures(
        {
            "ece": Bounded(lambda weights: statistics.ece(rows.met, p, weights)),
            "log_loss": lambda weights: statistics.log_loss(rows.met, p, weights),
            "brier": share((p - rows.met) ** 2),
        },
        rows.groups,
    )
    met = p >= threshold
    return wire.Certificate(
        threshold=threshold,
        criteria=len(rows),
        groups=len(np.unique(rows.groups)),
        **{name: _interval(figure) for name, figure in found.items()},
        positive=_rates(rows, met, ~rows.negative),
        negative=_rates(rows, met, rows.negative),
    )


def gain(rows: Rows, p: Floats) -> wire.Gain:
    """How much lower log loss and ECE are with `p` than with P(met) as the judge gave it, on the same draws."""
    found = figures(
        {
            "log_loss": lambda w: statistics.log_loss(rows.met, rows.p, w) - statistics.log_loss(rows.met, p, w),
            "ece": lambda w: statistics.ece(rows.met, rows.p, w) - statistics.ece(rows.met, p, w),
        },
        rows.groups,
    )
    return wire.Gain(log_loss=_interval(found["log_loss"]), ece=_interval(found["ece"]))


def _rates(rows: Rows, met: Bools, selected: Bools) -> wire.SignRates:
    labels, said, groups = rows.met[selected], met[selected], rows.groups[selected]
    some, others = int(labels.sum()), int((~labels).sum())
    rates = error_rates(labels, said)
    found = figures(
        {
            "positive": rates["false_positive_rate"],
            "negative": rates["false_negative_rate"],
            "informedness": lambda weights: (
                1
                - statistics.false_positive_rate(labels, said, weights)
                - statistics.false_negative_rate(labels, said, weights)
            ),
        },
        groups,
    )
    false_positive, false_negative = _rate(found["positive"], others), _rate(found["negative"], some)
    return wire.SignRates(
        met=some,
        unmet=others,
        false_positive=false_positive,
        false_negative=false_negative,
        informedness=_informedness(found, false_positive, false_negative),
    )


def _rate(figure: Figure, labels: int) -> wire.Interval | None:
    """The wider of the interval over prompts and Wilson's, which is not empty where no error was seen."""
    if figure.value is None:
        return None
    low, high = wilson(figure.value * labels, labels)
    wide = _interval(figure)
    return wire.Interval(value=figure.value, low=min(low, wide.low), high=max(high, wide.high))


def _informedness(
    found: Mapping[str, Figure], positive: wire.Interval | None, negative: wire.Interval | None
) -> wire.Interval | None:
    """1 - both rates. Where the rates' intervals say more than the draws do, theirs are joined (Newcombe's way)."""
    if positive is None or negative is None:
        return None
    value = 1 - positive.value - negative.value
    low = value - float(np.hypot(positive.high - positive.value, negative.high - negative.value))
    high = value + float(np.hypot(positive.value - positive.low, negative.value - negative.low))
    drawn = found["informedness"]
    lows, highs = [low, drawn.low], [high, drawn.high]
    return wire.Interval(
        value=value,
        low=min(each for each in lows if each is not None),
        high=max(each for each in highs if each is not None),
    )


def _interval(figure: Figure) -> wire.Interval:
    """With an interval that holds the value: that of a calibration error, which draws can only raise, need not. Of one
    prompt alone, which has no draws, it is the value itself."""
    assert figure.value is not None
    low = figure.value if figure.low is None else min(figure.low, figure.value)
    high = figure.value if figure.high is None else max(figure.high, figure.value)
    return wire.Interval(value=figure.value, low=low, high=high)
