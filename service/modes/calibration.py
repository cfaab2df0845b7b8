"""A calibration turns P(met) as the judge gave it into the share that is met among verdicts like it. Pure.

Guarantees: a curve keeps the order of verdicts with equal priors, up to ties; its result is a probability, and the same
numbers give the same result. A calibration that weighs a prior gives nothing without the prior.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from service.rubrics.debias import Rates, Sign
from service.rubrics.rubric import Criterion

NEAREST = 1e-9
"""P(met) counts as no nearer to 0 and 1 than this, so that its log-odds are finite."""
_FURTHEST = 700.0


def log_odds(p: float) -> float:
    bounded = min(max(p, NEAREST), 1.0 - NEAREST)
    return math.log(bounded / (1.0 - bounded))


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line on the log-odds. With its defaults it changes nothing."""

    slope: float = 1.0
    offset: float = 0.0
    prior_weight: float = 0.0

    def __call__(self, p: float, prior: float | None) -> float:
        if self.slope == 1.0 and self.offset == 0.0 and self.prior_weight == 0.0:
            return p
        at = self.slope * log_odds(p) + self.offset
        if self.prior_weight:
            if prior is None:
                raise ValueError("this curve weighs a prior, and none was given")
            at -= self.prior_weight * log_odds(prior)
        return 1.0 / (1.0 + math.exp(min(max(-at, -_FURTHEST), _FURTHEST)))


@dataclass(frozen=True, slots=True)
class Steps:
    """Linear between knots, at rising log-odds `at` with rising probabilities `p`; level before the first knot and
    behind the last."""

    at: tuple[float, ...]
    p: tuple[float, ...]

    def __call__(self, p: float, prior: float | None) -> float:
        at = log_odds(p)
        after = bisect_right(self.at, at)
        if after == 0:
            return self.p[0]
        if after == len(self.at):
            return self.p[-1]
        start, stop = self.at[after - 1], self.at[after]
        share = (at - start) / (stop - start)
        return self.p[after - 1] + share * (self.p[after] - self.p[after - 1])


@dataclass(frozen=True, slots=True)
class SelectedCurve:
    """The curve of criteria of one sign or of one tag; of all, where it names neither."""

    curve: Line | Steps
    sign: Sign | None = None
    tag: tuple[str, str] | None = None

    def is_for(self, criterion: Criterion) -> bool:
        if self.sign is not None and self.sign != sign_of(criterion):
            return False
        return self.tag is None or criterion.tags.get(self.tag[0]) == self.tag[1]


@dataclass(frozen=True, slots=True)
class Prior:
    """A second query whose content is empty shows the judge's bias: one with a criterion that says nothing, or one with
    an empty response."""

    of: Literal["criterion", "response"]
    text: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration of the judge whose fingerprint without one is `judge`. `rates` are the judge's errors where it
    decides at `threshold`. `document` is what a caller is shown."""

    name: str
    judge: str
    mode: str
    layout: str
    curves: tuple[SelectedCurve, ...]
    prompt: str | None = None
    prior: Prior | None = None
    threshold: float = 0.5
    rates: Rates = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)

    def curve_of(self, criterion: Criterion) -> Line | Steps:
        """The first curve that is for it; the last one is for all."""
        return next(one.curve for one in self.curves if one.is_for(criterion))


def sign_of(criterion: Criterion) -> Sign:
    """A fault is negative; what is only monitored counts as wanted."""
    return "negative" if criterion.points < 0 else "positive"
