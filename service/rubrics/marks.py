"""Makes marks of judged criteria: what a formula adds up. Pure.

Guarantees: numbers are exact, so that a sum depends on neither the order nor the magnitude of its parts.
"""

import sys
from dataclasses import dataclass
from fractions import Fraction

from service.rubrics.debias import Sign
from service.rubrics.judgement import Judgement
from service.rubrics.levels import is_met
from service.rubrics.rubric import Criterion

# Integers where the points are, which makes common rubrics several times cheaper than fractions throughout.
Exact = int | Fraction


@dataclass(frozen=True, slots=True)
class Mark:
    """A counted criterion with a value. `met` is its hard verdict, which a threshold may set apart from the value."""

    criterion: Criterion
    points: Exact
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


def judged_mark(criterion: Criterion, judgement: Judgement, soft: bool) -> Mark:
    """The mark of a verdict. Raises ValueError for one that no judge may give."""
    if judgement.met is None:
        raise ValueError("a judgement that is ok has no verdict")
    points = exact(criterion.points)
    if criterion.graded:
        return _graded_mark(criterion, judgement, soft)
    if not soft or judgement.p is None:  # a rule has a verdict and no probability
        return Mark(criterion, points, int(judgement.met), judgement.met, by_judge=judgement.source != "rule")
    if not 0 <= judgement.p <= 1:
        raise ValueError("P(met) is not a probability")
    return Mark(criterion, points, exact(judgement.p), judgement.met)


def _graded_mark(criterion: Criterion, judgement: Judgement, soft: bool) -> Mark:
    """The value of the option that was taken, or the expected one. Raises ValueError for what no judge may give."""
    if judgement.level is None or judgement.value is None or judgement.met is None:
        raise ValueError("a judgement of a graded criterion has no level")
    if not 0 <= judgement.value <= 1:
        raise ValueError("the expected value is no share of the points")
    value = judgement.value if soft else criterion.options[judgement.level].value
    return Mark(criterion, exact(criterion.points), exact(value), judgement.met, by_judge=True)


def mark_at(criterion: Criterion, *, good: bool, threshold: float = 0.5) -> Mark:
    """The mark of a criterion whose verdict came out as well as it can, or as badly. `threshold` is that of a value
    which is met."""
    if criterion.graded:
        values = [option.value for option in criterion.options]
        value = max(values) if good is (criterion.points > 0) else min(values)
        return Mark(criterion, exact(criterion.points), exact(value), is_met(value, threshold))
    met = good is (criterion.points > 0)
    return Mark(criterion, exact(criterion.points), int(met), met)


def exact(number: float) -> Exact:
    return int(number) if float(number).is_integer() else Fraction(number)


def rounded(number: Exact) -> float:
    """The nearest float; a ratio of extreme points that no float can hold becomes the largest one of its sign."""
    try:
        return float(number)
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max
