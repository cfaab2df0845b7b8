"""Aggregation turns the judgements of a rubric's criteria into one score. Pure.

Guarantees: what was not judged shows as coverage below one and as bounds, between which the whole rubric's score lies
however the missing verdicts would have come out. The score of a rubric that was judged in part is one of these bounds,
or their middle, or None: an aggregation over the judged alone would pay an unjudged fault like one that is not there.
Sums are exact fractions, rounded once at the end, so a score depends on neither order nor magnitude of the points and
is finite.

Throughout, c is a criterion's value (0 or 1, or P(met) when soft), and g its goodness: c if wanted, 1 - c if a fault.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from service.errors import InvalidRequest
from service.rubrics.debias import LINEAR, Rates, Sign, corrected_value, most_error
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import CATEGORIES, Category, Criterion

# Rubrics as Rewards, version 2 of the paper. Version 1 had 0.8 for pitfalls.
RAR_WEIGHTS: Mapping[Category, float] = MappingProxyType(
    {"essential": 1.0, "important": 0.7, "optional": 0.3, "pitfall": 0.9}
)
RAR_V1_WEIGHTS: Mapping[Category, float] = MappingProxyType({**RAR_WEIGHTS, "pitfall": 0.8})

# The bounds of points on the wire hold for weights, too.
MIN_WEIGHT, MAX_WEIGHT = 1e-6, 1e6

# Integers where the points are, which makes common rubrics several times cheaper than fractions throughout.
Exact = int | Fraction
Unjudged = Literal["lower", "middle"]

# A `min_coverage` that a caller added up in floats may exceed the share that it means.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Score:
    """`value` is None if too little was judged, `bounds` if nothing counts; `coverage` is the judged share of the
    counted |points|."""

    value: float | None
    bounds: tuple[float, float] | None
    coverage: float
    status: Literal["ok", "partial", "failed"]


@dataclass(frozen=True, slots=True)
class _Mark:
    """A counted criterion with a value. `met` is its hard verdict, which a threshold may set apart from the value."""

    category: Category | None
    points: Exact
    weight: Exact
    value: Exact
    met: bool
    by_judge: bool = False

    @property
    def sign(self) -> Sign:
        return "positive" if self.points > 0 else "negative"

    @property
    def size(self) -> Exact:
        return self.points if self.points > 0 else -self.points

    @property
    def good(self) -> Exact:
        return self.value if self.points > 0 else 1 - self.value

    @property
    def passed(self) -> bool:
        return self.met is (self.points > 0)


def _healthbench(marks: Sequence[_Mark]) -> Exact:
    """Sum of points·c over the sum of positive points, unclipped (HealthBench; RuscaRL's Eq. 4). Without positive
    points: over the sum of |points|, in -1..0, where 0 is no fault."""
    earned: Exact = 0
    best: Exact = 0
    worst: Exact = 0
    for mark in marks:
        earned += mark.points * mark.value
        if mark.points > 0:
            best += mark.points
        else:
            worst -= mark.points
    return Fraction(earned, best or worst)


def _healthbench_clipped(marks: Sequence[_Mark]) -> Exact:
    """`healthbench`, which is at most 1, clipped to 0..1. Without positive points: one more than it, where 1 is no
    fault."""
    if not any(mark.points > 0 for mark in marks):
        return 1 + _healthbench(marks)
    return max(_healthbench(marks), 0)


def _weighted(marks: Sequence[_Mark]) -> Exact:
    """Sum of weight·g over the sum of weights, in 0..1."""
    return Fraction(sum(mark.weight * mark.good for mark in marks), sum(mark.weight for mark in marks))


def _mean(marks: Sequence[_Mark]) -> Exact:
    """Mean of g, in 0..1; the size of the points does not matter."""
    return Fraction(sum(mark.good for mark in marks), len(marks))


def _min(marks: Sequence[_Mark]) -> Exact:
    """The worst g, in 0..1."""
    return min(mark.good for mark in marks)


def _all_pass(marks: Sequence[_Mark]) -> Exact:
    """Product of g: 1 if every wanted criterion is met and no fault is, else 0 (soft: what lies between)."""
    return math.prod(mark.good for mark in marks)


def _gated(marks: Sequence[_Mark]) -> Exact:
    """0 unless every essential criterion passes by its hard verdict, else weighted by |points|, in 0..1. Without an
    essential criterion nothing is gated."""
    shut = any(not mark.passed for mark in marks if mark.category == "essential")
    return 0 if shut else _weighted(marks)


_TABLE: Mapping[str, Callable[[Sequence[_Mark]], Exact]] = MappingProxyType(
    {
        "healthbench": _healthbench,
        "healthbench_clipped": _healthbench_clipped,
        "rar_explicit": _weighted,
        "weighted_abs": _weighted,
        "all_pass": _all_pass,
        "mean": _mean,
        "min": _min,
        "gated": _gated,
    }
)
AGGREGATIONS: tuple[str, ...] = tuple(_TABLE)


def check(name: str, criteria: Sequence[Criterion]) -> None:
    """Raise InvalidRequest where `name` cannot score these criteria, so that it is known before anything is judged:
    `rar_explicit` needs a category on every counted criterion, or on none. Locations are indexes into `criteria`."""
    if name not in _TABLE:
        raise InvalidRequest(f"no such aggregation; known: {', '.join(AGGREGATIONS)}")
    if name != "rar_explicit":
        return
    counted = [i for i, criterion in enumerate(criteria) if criterion.counted]
    without = [i for i in counted if criteria[i].category is None]
    if 0 < len(without) < len(counted):
        places = ", ".join(map(str, without))
        raise InvalidRequest(
            f"`rar_explicit` weighs by category, and the criteria at these indexes have none: {places}; "
            "give every counted criterion a category prefix, or none of them",
            tuple((("criteria", i), "begin the text with `Essential Criteria: ` or another category") for i in without),
        )


def aggregate(
    name: str,
    criteria: Sequence[Criterion],
    judgements: Sequence[Judgement],
    *,
    soft: bool = False,
    min_coverage: float = 1.0,
    unjudged: Unjudged | None = None,
    weights: Mapping[Category, float] = RAR_WEIGHTS,
    rates: Rates | None = None,
) -> Score:
    """The score of one response: `judgements[i]` is of `criteria[i]`. Criteria with 0 points do not count.

    `bounds` is the aggregation over all of them with the unjudged at their worst and at their best. `value` is it where
    all were judged. Where some were and `coverage` reaches `min_coverage`, it is what `unjudged` says: the lower bound,
    the middle of the bounds, or None. With `rates` the value is corrected for the judge's errors, so that its mean is
    right and it may lie outside of the aggregation's range; the bounds then hold the score without errors with 95 %.
    Raises InvalidRequest as `check` does, and ValueError for lengths that differ or numbers that no judge may give.
    """
    check(name, criteria)
    function = _TABLE[name]
    by_category = _category_weights(weights) if name == "rar_explicit" else {}
    judged: list[_Mark] = []
    worst: list[_Mark] = []
    best: list[_Mark] = []
    for criterion, judgement in zip(criteria, judgements, strict=True):
        if criterion.points == 0:  # monitor only
            continue
        points = _exact(criterion.points)
        # Without categories `rar_explicit` weighs by |points|, as the others do; `check` refuses a mixture.
        weight: Exact = points if points > 0 else -points
        if criterion.category is not None:
            weight = by_category.get(criterion.category, weight)
        if judgement.status == "ok":
            judged.append(_judged(criterion, points, weight, judgement, soft))
        else:
            wanted = points > 0
            worst.append(_Mark(criterion.category, points, weight, int(not wanted), met=not wanted))
            best.append(_Mark(criterion.category, points, weight, int(wanted), met=wanted))
    if not worst and (not judged or rates is None):
        value = _rounded(function(judged)) if judged else None
        return Score(value=value, bounds=None if value is None else (value, value), coverage=1.0, status="ok")

    low, high = function(judged + worst), function(judged + best)
    if rates is not None:
        if name not in LINEAR:
            raise ValueError("a correction needs an aggregation that is a weighted sum")
        low, high = _widened(name, judged, worst, best, rates)
        if not worst:
            value = _rounded(function([_corrected(mark, rates) for mark in judged]))
            return Score(value=value, bounds=(_rounded(low), _rounded(high)), coverage=1.0, status="ok")
    size = sum(mark.size for mark in judged)
    coverage = _rounded(Fraction(size, size + sum(mark.size for mark in worst)))
    value = None
    if unjudged is not None and judged and coverage >= min_coverage - _ROUNDING:
        value = _rounded(low if unjudged == "lower" else Fraction(low + high, 2))
    return Score(
        value=value,
        bounds=(_rounded(low), _rounded(high)),
        coverage=coverage,
        status="partial" if judged else "failed",
    )


def _category_weights(table: Mapping[Category, float]) -> dict[Category, Exact]:
    if not all(category in table and MIN_WEIGHT <= table[category] <= MAX_WEIGHT for category in CATEGORIES):
        raise ValueError(f"every category needs a weight of {MIN_WEIGHT:g} to {MAX_WEIGHT:g}")
    return {category: _exact(weight) for category, weight in table.items()}


def _judged(criterion: Criterion, points: Exact, weight: Exact, judgement: Judgement, soft: bool) -> _Mark:
    if judgement.met is None:
        raise ValueError("a judgement that is ok has no verdict")
    if not soft or judgement.p is None:  # a rule has a verdict and no probability
        by_judge = judgement.source != "rule"
        return _Mark(criterion.category, points, weight, int(judgement.met), judgement.met, by_judge)
    if not 0 <= judgement.p <= 1:
        raise ValueError("P(met) is not a probability")
    return _Mark(criterion.category, points, weight, _exact(judgement.p), judgement.met)


def _corrected(mark: _Mark, rates: Rates) -> _Mark:
    """The verdict's value, so that its mean is the truth. A rule makes no errors."""
    known = rates[mark.sign] if mark.by_judge else None
    if known is None:
        return mark
    return replace(mark, value=corrected_value(mark.met, known))


def _widened(
    name: str, judged: Sequence[_Mark], worst: Sequence[_Mark], best: Sequence[_Mark], rates: Rates
) -> tuple[Exact, Exact]:
    """The bounds by the verdicts, moved by as much as errors can have moved the score, within what is possible at all.
    How far errors can raise the score is taken of the truth under which they raise it most."""
    function, marks = _TABLE[name], [*judged, *worst]
    raised: list[tuple[float, float]] = []
    lowered: list[tuple[float, float]] = []
    whole = float(sum(_part(name, mark) for mark in marks))
    if name == "healthbench":
        whole = float(sum(mark.size for mark in marks if mark.points > 0) or whole)
    for mark in judged:
        known = rates[mark.sign] if mark.by_judge else None
        if known is None:
            continue
        part = float(_part(name, mark)) / whole
        up, down = known.most_false_positive, known.most_false_negative
        raised.append((part, up if mark.points > 0 else down))
        lowered.append((part, down if mark.points > 0 else up))
    low = function([*judged, *worst]) - _exact(most_error(raised))
    high = function([*judged, *best]) + _exact(most_error(lowered))
    least = function([_at(mark, good=not mark.by_judge and mark.passed) for mark in judged] + list(worst))
    most = function([_at(mark, good=mark.by_judge or mark.passed) for mark in judged] + list(best))
    return max(low, least), min(high, most)


def _part(name: str, mark: _Mark) -> Exact:
    return 1 if name == "mean" else mark.size if name == "healthbench" else mark.weight


def _at(mark: _Mark, good: bool) -> _Mark:
    met = good is (mark.points > 0)
    return replace(mark, value=int(met), met=met)


def _exact(number: float) -> Exact:
    return int(number) if float(number).is_integer() else Fraction(number)


def _rounded(exact: Exact) -> float:
    """The nearest float; a ratio of extreme points that no float can hold becomes the largest one of its sign."""
    try:
        return float(exact)
    except OverflowError:
        return sys.float_info.max if exact > 0 else -sys.float_info.max
