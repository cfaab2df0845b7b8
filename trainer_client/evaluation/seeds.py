"""Puts the results of several seeds together, and compares two policies prompt by prompt.

Guarantees: a prompt without a value has none in any mean. Two policies are compared on the prompts that both have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import comb, sqrt
from typing import Any

import numpy as np

from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import RESAMPLES, Figure, figures
from trainer_client.agreement.statistics import Floats

Values = Mapping[str, Sequence[float | None]]
"""By prompt, the value of each seed."""

_FLIPS = 20_000
_ALL_FLIPS = 14
"""Differences of so many prompts have few enough patterns of signs to try them all."""
_SAME = 1e-9
_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class OverSeeds:
    """The mean of each seed, the mean of these, and their standard deviation (n - 1), None of one seed alone.
    `interval` is of the mean over seeds, by the bootstrap over prompts."""

    mean: float | None
    std: float | None
    seeds: tuple[float | None, ...]
    interval: Figure

    def as_json(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "std_over_seeds": self.std,
            "seeds": list(self.seeds),
            "interval_95": None if self.interval.low is None else [self.interval.low, self.interval.high],
            "prompts": self.interval.n,
        }


@dataclass(frozen=True, slots=True)
class Paired:
    """A policy less another one on the same prompts, each with its mean over seeds. `p` is the chance of so large a
    mean difference if the signs were a coin's: `exact` over all of them, else over random ones."""

    difference: Figure
    p: float | None
    exact: bool
    better: int
    worse: int
    same: int

    def as_json(self) -> dict[str, Any]:
        return {
            "difference": self.difference.as_json(),
            "p": self.p,
            "exact": self.exact,
            "better": self.better,
            "worse": self.worse,
            "same": self.same,
        }


def over_seeds(values: Values, *, seed: int = 0) -> OverSeeds:
    count = max((len(some) for some in values.values()), default=0)
    seeds = tuple(_mean([some[n] for some in values.values() if n < len(some)]) for n in range(count))
    known = [one for one in seeds if one is not None]
    mean = _mean(known)
    own = np.array([one for some in values.values() if (one := _mean(some)) is not None])
    return OverSeeds(mean, spread(known), seeds, mean_figure(own, seed=seed))


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample, with n - 1."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return sqrt(sum((one - mean) ** 2 for one in values) / (len(values) - 1))


def paired(one: Values, other: Values, *, seed: int = 0) -> Paired:
    """`one` less `other`."""
    differences = np.array(
        [
            mine - theirs
            for name, some in one.items()
            if name in other and (mine := _mean(some)) is not None and (theirs := _mean(other[name])) is not None
        ]
    )
    signs = np.where(np.abs(differences) < _SAME, 0, np.sign(differences))
    p, exact = sign_flip_p(differences, seed=seed)
    return Paired(
        mean_figure(differences, seed=seed),
        p,
        exact,
        int((signs > 0).sum()),
        int((signs < 0).sum()),
        int((signs == 0).sum()),
    )


def mean_figure(values: Floats, *, resamples: int = RESAMPLES, seed: int = 0) -> Figure:
    """The mean with its interval, drawn over the values."""
    weighed = {"mean": partial(statistics.mean, values)}
    return figures(weighed, np.arange(len(values), dtype=np.intp), resamples=resamples, seed=seed)["mean"]


def sign_flip_p(differences: Floats, *, seed: int = 0) -> tuple[float | None, bool]:
    """The two-sided p of Fisher's test of paired differences, and whether it is exact. Where all of them are of one
    size, as right and wrong answers of one seed are, it is McNemar's exact test."""
    sizes = np.abs(differences[np.abs(differences) >= _SAME])
    if not len(differences):
        return None, True
    if not len(sizes):
        return 1.0, True
    observed = abs(float(differences[np.abs(differences) >= _SAME].sum())) - _SAME
    if np.ptp(sizes) < _SAME:
        return _binomial_p(len(sizes), observed / float(sizes[0])), True
    if len(sizes) <= _ALL_FLIPS:
        patterns = (np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes))) & 1
        return float((np.abs((2 * patterns - 1) @ sizes) >= observed).mean()), True
    draw, block = np.random.default_rng(seed), max(_CELLS // len(sizes), 1)
    beyond = 0
    for first in range(0, _FLIPS, block):
        flips = draw.integers(0, 2, (min(block, _FLIPS - first), len(sizes))) * 2 - 1
        beyond += int((np.abs(flips @ sizes) >= observed).sum())
    return (beyond + 1) / (_FLIPS + 1), False


def _binomial_p(tosses: int, surplus: float) -> float:
    """The chance that heads and tails of a fair coin differ by at least `surplus`."""
    beyond: int = sum(comb(tosses, heads) for heads in range(tosses + 1) if abs(2 * heads - tosses) >= surplus - _SAME)
    return float(beyond / 2**tosses)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) / len(known) if known else None
