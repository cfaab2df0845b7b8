"""Corrects scores for the errors that a judge is known to make. Pure.

A judge that says "met" of a share `fp` of what is not met, and "not met" of a share `fn` of what is, gives a criterion
the value fp + (1 - fn - fp) x truth on average. Solved for the truth, the value of a verdict is (met - fp) / (1 - fn -
fp), and any weighted sum of such values is right on average.

Guarantees: no correction is made with rates that are unknown, or of a judge that can hardly tell met from not met.
`most_error` is never less than the exact quantile of its distribution.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from service.errors import InvalidRequest

Sign = Literal["positive", "negative"]
LINEAR = ("healthbench", "rar_explicit", "weighted_abs", "mean")
"""The aggregations that are weighted sums of the values: the mean of another one is not that of its parts."""
LEAST_INFORMEDNESS = 0.2
"""Below it a verdict's value would be multiplied by 5 and more."""
_TAIL = 0.025
_MOST_SUMS = 1024
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Shares of the unmet that the judge calls met, and of the met that it calls unmet, with the upper ends of their
    intervals; and the lower end of that of 1 - both."""

    false_positive: float
    false_negative: float
    most_false_positive: float
    most_false_negative: float
    least_informedness: float

    @property
    def informedness(self) -> float:
        return 1.0 - self.false_positive - self.false_negative


Rates = Mapping[Sign, ErrorRates | None]


def check_rates(rates: Rates, signs: Collection[Sign]) -> None:
    """Raises InvalidRequest where the judge's errors on criteria of one of the signs are unknown or too many."""
    for sign in sorted(signs):
        known = rates.get(sign)
        if known is None:
            raise _refused(f"its certificate has no rates for criteria with {sign} points")
        if known.informedness < LEAST_INFORMEDNESS or known.least_informedness <= 0:
            raise _refused(
                f"on criteria with {sign} points its certificate has 1 - false positives - false negatives = "
                f"{known.informedness:.2f}, at least {known.least_informedness:.2f}; it takes {LEAST_INFORMEDNESS:g}, "
                "and surely more than 0"
            )


def _refused(why: str) -> InvalidRequest:
    message = f"this judge cannot correct a score: {why}; leave `debias` out"
    return InvalidRequest(message, ((("debias",), message),))


@lru_cache(maxsize=256)
def corrected_value(met: bool, rates: ErrorRates) -> Fraction:
    """The value of a verdict whose mean is the truth. A judge has two for each sign, and fractions are slow to make."""
    return (int(met) - Fraction(rates.false_positive)) / Fraction(rates.informedness)


def most_error(parts: Collection[tuple[float, float]], tail: float = _TAIL) -> float:
    """The sum of (size, rate) pairs, each of which counts with its rate and independently of the others, that is
    exceeded with a probability of at most `tail`."""
    return _quantile(tuple(sorted((round(size, _DIGITS), rate) for size, rate in parts if size > 0)), tail)


@lru_cache(maxsize=2048)
def _quantile(parts: tuple[tuple[float, float], ...], tail: float) -> float:
    """A training asks with the same rubrics again and again, so the last ones are remembered."""
    sums = _distribution(parts)
    if sums is None:  # too many different sums: sizes are rounded up to a grid, which can make the result larger alone
        unit = math.fsum(size for size, _ in parts) / _MOST_SUMS
        sums = _distribution(tuple((math.ceil(size / unit), rate) for size, rate in parts), most=4 * _MOST_SUMS)
        assert sums is not None
        sums = {steps * unit: p for steps, p in sums.items()}
    seen = 0.0
    for total, p in sorted(sums.items()):
        seen += p
        if seen >= 1.0 - tail:
            return total
    return max(sums)


def _distribution(parts: Collection[tuple[float, float]], most: int = _MOST_SUMS) -> dict[float, float] | None:
    """The probability of each sum; None where there are more than `most`."""
    sums = {0.0: 1.0}
    for size, rate in parts:
        grown: dict[float, float] = {}
        for total, p in sums.items():
            more = round(total + size, _DIGITS)
            grown[total] = grown.get(total, 0.0) + p * (1.0 - rate)
            grown[more] = grown.get(more, 0.0) + p * rate
        if len(grown) > most:
            return None
        sums = grown
    return sums
