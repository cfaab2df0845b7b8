"""Puts the results of several seeds together, and compares two policies prompt by prompt.

Guarantees: a prompt without a value has none in any mean. Two policies are compared on the prompts that both have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import atan, comb, cos, pi, sin, sqrt
from typing import Any

import numpy as np

from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import Bounded, Figure, Statistic, figures
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
    """The mean of each seed, the mean of these, and their standard deviation (n - 1), None of one seed alone. Where
    means are clipped, the mean of the seeds is clipped as the last: a seed below 0 counts with what it is.
    `interval` is of the mean over seeds by the bootstrap over prompts: with other prompts. `over_runs` is by Student's
    distribution of the seeds' means: with other seeds and the same prompts; None where all seeds have one mean."""

    mean: float | None
    std: float | None
    seeds: tuple[float | None, ...]
    interval: Figure
    over_runs: tuple[float, float] | None

    def as_json(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "std_over_seeds": self.std,
            "seeds": list(self.seeds),
            "interval_95": None if self.interval.low is None else [self.interval.low, self.interval.high],
            "why": self.interval.why,
            "interval_95_over_seeds": None if self.over_runs is None else list(self.over_runs),
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


def over_seeds(
    values: Values,
    *,
    weights: Mapping[str, float] | None = None,
    clips: bool = False,
    shares: bool = False,
    seed: int = 0,
) -> OverSeeds:
    """`weights` are of the prompts. With `clips` a mean is clipped to 0..1 after averaging, as HealthBench's is; with
    `shares` each value is in 0..1."""
    weight_of = dict.fromkeys(values, 1.0) if weights is None else weights

    def clipped(value: float | None) -> float | None:
        return min(max(value, 0.0), 1.0) if clips and value is not None else value

    def unclipped(n: int) -> float | None:
        known = [
            (one, weight_of[name]) for name, some in values.items() if n < len(some) and (one := some[n]) is not None
        ]
        total = sum(weight for _, weight in known)
        return sum(one * weight for one, weight in known) / total if total else None

    means = [unclipped(n) for n in range(max((len(some) for some in values.values()), default=0))]
    seeds = tuple(map(clipped, means))
    known = [one for one in seeds if one is not None]
    own = {name: one for name, some in values.items() if (one := _mean(some)) is not None}
    found = mean_figure(
        np.array(list(own.values())), np.array([weight_of[name] for name in own]), shares=shares, seed=seed
    )
    interval = replace(found, value=clipped(found.value), low=clipped(found.low), high=clipped(found.high))
    mean, std = clipped(_mean(means)), spread(known)
    over_runs = None
    if mean is not None and std is not None and std > _SAME:
        half = student_95(len(known) - 1) * std / sqrt(len(known))
        over_runs = mean - half, mean + half
    return OverSeeds(mean, std, seeds, interval, over_runs)


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


def mean_figure(values: Floats, weights: Floats | None = None, *, shares: bool = False, seed: int = 0) -> Figure:
    """The mean with its interval, drawn over the values; with `shares` they are in 0..1."""
    own = np.ones(len(values)) if weights is None else weights
    groups = np.arange(len(values), dtype=np.intp)
    drawn: Statistic = lambda times: statistics.mean(values, times * own)  # noqa: E731
    return figures({"mean": Bounded(drawn) if shares else drawn}, groups, seed=seed)["mean"]


def student_95(freedom: int) -> float:
    """The value beyond which Student's distribution has 2.5 % on each side, by halving (Abramowitz and Stegun, 26.7.3
    and 26.7.4, are exact for whole degrees of freedom)."""
    low, high = 0.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 0.95 else (low, middle)
    return (low + high) / 2


def _within(t: float, freedom: int) -> float:
    """The chance of a value between -t and t."""
    angle = atan(t / sqrt(freedom))
    term = total = cos(angle) if freedom % 2 else 1.0
    for step in range(2 if freedom % 2 else 1, freedom - 1, 2):
        term *= cos(angle) ** 2 * step / (step + 1)
        total += term
    if freedom == 1:
        return 2 * angle / pi
    return 2 / pi * (angle + sin(angle) * total) if freedom % 2 else sin(angle) * total


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
