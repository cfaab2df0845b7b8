"""Gives figures their intervals: whole groups are drawn again and again, because labels of one prompt hang together.

Guarantees: the same data and seed give the same interval. All statistics of one call are computed on the same draws,
so that a difference of two is a paired one. Where a figure or its interval has no value it is None.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer_client.agreement.statistics import Floats

RESAMPLES = 1000
LEVEL = 0.95
_CELLS = 2_000_000
"""Weights that are held at one time: memory does not grow with the number of resamples."""
_DEFINED = 0.9
"""The share of the draws in which a statistic must have a value, so that its interval has one."""

Statistic = Callable[[Floats], Floats]
"""From weights (R, N) over the values of a sample to R results."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its interval at level 95 %, and the number `n` of what it was computed on."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def as_json(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def figures(
    statistics: Mapping[str, Statistic], groups: NDArray[np.intp], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Figure]:
    """Each statistic of a sample whose values belong to `groups`, numbers from 0."""
    n = int(groups.shape[0])
    if n == 0:
        return {name: Figure(None, None, None, 0) for name in statistics}
    whole = np.ones((1, n))
    values = {name: _number(statistic(whole)[0]) for name, statistic in statistics.items()}
    count = len(np.unique(groups))
    drawn: dict[str, list[Floats]] = {name: [] for name in statistics}
    for weights in _draws(groups, resamples, seed):
        for name, statistic in statistics.items():
            if values[name] is not None:
                drawn[name].append(statistic(weights))
    return {name: Figure(values[name], *interval(drawn[name], count), n) for name in statistics}


def _draws(groups: NDArray[np.intp], resamples: int, seed: int) -> Iterator[Floats]:
    """Weights (R, N) of the values, a few resamples at a time. One group alone has no draws."""
    _, group_of = np.unique(groups, return_inverse=True)
    count = int(group_of.max()) + 1
    if count < 2:
        return
    draw = np.random.default_rng(seed)
    block = max(_CELLS // groups.shape[0], 1)
    left = resamples
    while left > 0:
        rows = min(block, left)
        left -= rows
        picked = draw.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        times = np.bincount(picked.ravel(), minlength=rows * count).reshape(rows, count)
        yield times[:, group_of].astype(np.float64)


def interval(drawn: list[Floats], groups: int) -> tuple[float | None, float | None]:
    """The middle of the draws over so many groups; None where too few of them have a value."""
    if not drawn:
        return None, None
    values = np.concatenate(drawn)
    defined = values[np.isfinite(values)]
    if defined.size < _DEFINED * values.size:
        return None, None
    tail = tail_of(groups)
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def tail_of(groups: int) -> float:
    """The share of the draws beyond each end of an interval. With few groups it is less than 2.5 %, as otherwise the
    interval would be too narrow: draws have the spread of a sample without the factor n / (n - 1), and a normal
    distribution's tails in place of Student's (Hesterberg, "What Teachers Should Know about the Bootstrap", 2015)."""
    z, freedom = NormalDist().inv_cdf((1 + LEVEL) / 2), groups - 1
    # Student's quantile by its expansion at the normal one (Abramowitz and Stegun, 26.7.5).
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    student = z + first / freedom + second / freedom**2 + third / freedom**3
    return NormalDist().cdf(-student * sqrt(groups / freedom))


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def numbered(names: Any) -> NDArray[np.intp]:
    """Groups as numbers from 0, in the order of their names."""
    return np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)[1].astype(np.intp)
