"""Turns the effects that a check found into a mean with an interval, and the interval into a verdict. Pure.

Guarantees: an effect that could not be measured is counted as missing and enters no mean. A check passes or fails where
the whole interval is on one side of its limit, or, where every pair gave one value, this value; otherwise it warns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import Why, figures, numbered

Verdict = Literal["pass", "warn", "fail", "not run"]
Good = Literal["near zero", "low", "high"]

FEWEST_PROMPTS = 10
"""Of fewer prompts an interval by bootstrap says too little: then nothing passes and nothing fails."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a check measures: its mean is good near zero (in size at most `limit`), low or high."""

    name: str
    about: str
    limit: float
    good: Good


@dataclass(frozen=True, slots=True)
class Effect:
    """One measured value; None where the judge did not answer one of the two sides. `criterion` is the id of the
    criterion that it is about, None for the whole response."""

    measure: str
    value: float | None
    criterion: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """An effect with the row that it was found on, and that row's prompt."""

    effect: Effect
    row: str
    group: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of a measure with its 95 % interval by bootstrap over prompts, or `why` there is none. `extremes` are at
    most three effects beyond the limit, the worst first."""

    measure: Measure
    mean: float | None
    low: float | None
    high: float | None
    pairs: int
    prompts: int
    missing: int
    verdict: Verdict
    extremes: tuple[Placed, ...] = ()
    why: Why | None = None


def estimate(measure: Measure, found: Sequence[Placed]) -> Estimate:
    """The estimate over those of the effects that are of this measure."""
    placed = [one for one in found if one.effect.measure == measure.name]
    known = [one for one in placed if one.effect.value is not None]
    missing = len(placed) - len(known)
    if not known:
        return Estimate(measure, None, None, None, 0, 0, missing, "not run")
    values = np.array([one.effect.value for one in known], dtype=np.float64)
    prompts = len({one.group for one in known})
    mean = figures({"mean": partial(statistics.mean, values)}, numbered([one.group for one in known]))["mean"]
    verdict: Verdict = "warn"
    # What a judge that always answers alike shows is compared as it is: there is no spread to weigh it by.
    low, high = (mean.value, mean.value) if mean.why == "no_spread" else (mean.low, mean.high)
    if prompts >= FEWEST_PROMPTS and low is not None and high is not None:
        verdict = verdict_of(measure, low, high)
    worst = sorted(known, key=lambda one: _badness(measure, one.effect.value or 0.0), reverse=True)[:3]
    extremes = tuple(one for one in worst if _badness(measure, one.effect.value or 0.0) > _bad_from(measure))
    return Estimate(measure, mean.value, mean.low, mean.high, len(known), prompts, missing, verdict, extremes, mean.why)


def verdict_of(measure: Measure, low: float, high: float) -> Verdict:
    """The verdict for an interval."""
    limit = measure.limit
    if measure.good == "near zero":
        passed, failed = -limit <= low and high <= limit, low > limit or high < -limit
    elif measure.good == "low":
        passed, failed = high <= limit, low > limit
    else:
        passed, failed = low >= limit, high < limit
    return "pass" if passed else "fail" if failed else "warn"


def worst_of(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst verdict; `not run` where none was reached."""
    order: tuple[Verdict, ...] = ("fail", "warn", "pass")
    return next((one for one in order if one in verdicts), "not run")


def _bad_from(measure: Measure) -> float:
    """The badness from which a single effect is worth a look."""
    return 1 - measure.limit if measure.good == "high" else measure.limit


def _badness(measure: Measure, value: float) -> float:
    """How far a value is from what is good."""
    if measure.good == "near zero":
        return abs(value)
    return value if measure.good == "low" else 1 - value
