"""Gives figures their intervals: whole groups are drawn again and again, because labels of one prompt hang together.

Where all draws give one value they say nothing about the spread. Then a `Bounded` statistic has Wilson's interval of a
share with no exception among its groups, each counted once; any other has no interval, and `why` says so.

Guarantees: the same data and seed give the same interval. All statistics of one call are computed on the same draws,
so that a difference of two is a paired one. Where a figure or its interval has no value it is None. No interval of
several groups is a single point.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer_client.agreement import statistics
from trainer_client.agreement.shares import Z, wilson
from trainer_client.agreement.statistics import Bools, Floats

RESAMPLES = 1000
_CELLS = 2_000_000
"""Weights that are held at one time: memory does not grow with the number of resamples."""
_DEFINED = 0.9
"""The share of the draws in which a statistic must have a value, so that its interval has one."""

_SAME = 1e-12
"""Draws that differ by no more than this are equal: they are sums of floats in another order."""

Statistic = Callable[[Floats], Floats]
"""From weights (R, N) over the values of a sample to R results."""
Why = Literal["one_group", "no_spread", "undefined", "few"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its interval at level 95 %, and the number `n` of what it was computed on. A value without an
    interval says `why`: it is of one group, every draw gave the same, the statistic has no value in too many draws, or
    there are too few values for an interval to mean anything."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    why: Why | None = None

    def as_json(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n, "why": self.why}


@dataclass(frozen=True, slots=True)
class Bounded:
    """A statistic that is a mean of values in `least`..`most`, over those that are `counted` (N,), all of them if None:
    where every group has one value, so have all but a bounded share of the groups to come."""

    statistic: Statistic
    counted: Bools | None = None
    least: float = 0.0
    most: float = 1.0

    def __call__(self, weights: Floats) -> Floats:
        return self.statistic(weights)

    def unseen(self, value: float, groups: NDArray[np.intp]) -> tuple[float, float]:
        """The interval where all groups have this value. The share of others with another one is at most Wilson's upper
        end for none of so many, and those lie within the bounds."""
        counted = groups if self.counted is None else groups[self.counted]
        _, others = wilson(0, len(np.unique(counted)))
        return value - others * (value - self.least), value + others * (self.most - value)


def share(values: Floats | Bools) -> Bounded:
    """The mean of values in 0..1."""
    return Bounded(partial(statistics.mean, np.asarray(values, dtype=np.float64)))


def figures(
    measured: Mapping[str, Statistic], groups: NDArray[np.intp], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Figure]:
    """Each statistic of a sample whose values belong to `groups`, numbers from 0."""
    n = int(groups.shape[0])
    if n == 0:
        return {name: Figure(None, None, None, 0) for name in measured}
    whole = np.ones((1, n))
    values = {name: _number(statistic(whole)[0]) for name, statistic in measured.items()}
    count = len(np.unique(groups))
    drawn: dict[str, list[Floats]] = {name: [] for name in measured}
    for weights in _draws(groups, resamples, seed):
        for name, statistic in measured.items():
            if values[name] is not None:
                drawn[name].append(statistic(weights))
    return {name: _figure(statistic, values[name], drawn[name], groups, count) for name, statistic in measured.items()}


def _figure(
    statistic: Statistic, value: float | None, drawn: list[Floats], groups: NDArray[np.intp], count: int
) -> Figure:
    n = int(groups.shape[0])
    if value is None:
        return Figure(None, None, None, n)
    low, high = interval(drawn, count)
    if low is None or high is None:
        return Figure(value, None, None, n, "undefined" if drawn else "one_group")
    if high - low > _SAME * max(abs(value), 1.0):
        return Figure(value, low, high, n)
    if isinstance(statistic, Bounded):
        return Figure(value, *statistic.unseen(value, groups), n)
    return Figure(value, None, None, n, "no_spread")


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
    z, freedom = Z, groups - 1
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
