"""Tests by betting whether a bounded mean is, or at some step becomes, larger than a limit.

The null hypothesis: every value, given those before it, has a mean of at most `limit`. Capital K starts at 1 and bets a
share of itself on each value: K <- K (1 + c (x - limit)) with 0 < c < 1 / limit. Under the null hypothesis no bet gains
on average, so that the chance of K ever reaching 1/a is at most a, however often it is looked at (Ville, 1939;
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", 2024). Bets of several sizes c share
the first capital, and so do bets that begin at a later step: step j gets 1 / (j (j + 1)) of it, which finds a change
soon after it happens (Shin, Ramdas and Rinaldo, "E-detectors", 2023) and sums up to 1.

Guarantees: values are read in their order and none changes what was found before it. No distribution is assumed;
values lie in 0..1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
_SHARES = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
"""Of the largest bet that cannot lose everything."""
_LARGEST = 1e300


@dataclass(frozen=True, slots=True)
class Evidence:
    """The log of the capital after each step that had a value, and these steps."""

    steps: Ints
    log_capital: Floats

    @property
    def largest(self) -> float:
        """Its largest log so far; 0 before the first value."""
        return float(self.log_capital.max(initial=0.0))

    def onset(self, chance: float) -> int | None:
        """The first step at which the capital is 1/chance; None where it never is."""
        beyond = np.flatnonzero(self.log_capital >= -log(chance))
        return int(self.steps[beyond[0]]) if beyond.size else None

    def began(self, alarm: int) -> int:
        """The step from which on the capital grew to the alarm at that step: an estimate of when the mean changed."""
        before = np.flatnonzero(self.steps <= alarm)
        # The last of the least: it also fell or stood still until there.
        least = before[::-1][int(np.argmin(self.log_capital[before][::-1]))]
        first = least if self.log_capital[least] >= 0 else min(least + 1, before[-1])
        return int(self.steps[first])


def against(values: Floats, steps: Ints, limit: float) -> Evidence:
    """Evidence against means of at most `limit`, from values in the order of their steps."""
    if not values.size:
        return Evidence(np.empty(0, np.intp), np.empty(0))
    sizes = _SHARES / max(limit, 1e-9)
    playing, left = np.zeros(sizes.shape[0]), 1.0
    found: list[float] = []
    ends = np.append(np.flatnonzero(np.diff(steps)) + 1, values.shape[0])
    first = 0
    for begun, end in enumerate(ends, 1):
        enters = 1 / (begun * (begun + 1))
        left -= enters
        playing = playing + enters / sizes.shape[0]
        with np.errstate(over="ignore"):
            playing = np.minimum(playing * np.prod(1 + np.outer(values[first:end] - limit, sizes), axis=0), _LARGEST)
        found.append(log(playing.sum() + max(left, 0.0)))
        first = int(end)
    return Evidence(steps[np.append(0, ends[:-1])], np.array(found))


def at_best(values: int, limit: float) -> float:
    """The largest log of the capital that so many values can make."""
    return values * log(1 + float(_SHARES[-1]) / max(limit, 1e-9) * (1 - limit)) if values else 0.0


def upper_bound(values: Floats, chance: float) -> float:
    """A number that the values' mean exceeds with at most this chance; 1 where the values prove nothing."""
    low, high = float(values.mean()) if values.size else 1.0, 1.0
    if low >= high or _capital_below(values, high - 1e-9) < -log(chance):
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if _capital_below(values, middle) >= -log(chance):
            high = middle
        else:
            low = middle
    return high


def _capital_below(values: Floats, limit: float) -> float:
    """The log of the capital, without later beginnings, of bets that the mean is below `limit`."""
    sizes = _SHARES / (1 - limit) if limit < 1 else np.full(_SHARES.shape, inf)
    logs = np.log1p(np.outer(limit - values, sizes)).sum(axis=0)
    largest = float(logs.max())
    return largest + float(np.log(np.exp(logs - largest).mean()))


def shares(tests: int) -> Sequence[float]:
    """What each of so many tests gets of the chance of a false alarm, so that all together have no more than the whole,
    and further tests change nothing for the first ones: 1 / (k (k + 1)) for the k-th."""
    return [1 / (k * (k + 1)) for k in range(1, tests + 1)]
