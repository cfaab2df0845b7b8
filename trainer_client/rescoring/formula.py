"""Computes the score of a response from its verdicts, as the service does, bit by bit: no judge is asked for it.

The formulas are those of the service; what a log has of a verdict is less, and becomes their marks here.

Guarantees: sums are exact fractions, rounded once at the end. A criterion without a verdict is None, never 0 or False:
its score is what `unjudged` says, or None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from trainer_client import wire
from trainer_client.formulas import Aggregation, Mark, exact, rounded

_ROUNDING = 1e-9
"""A `min_coverage` that a caller added up in floats may exceed the share that it means."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is known of a criterion: `met` is None without a verdict, `p` also for a rule's."""

    met: bool | None
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """What a formula reads of a criterion: the points as counted, its category, its tags."""

    points: float
    category: wire.Category | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, criterion: wire.Criterion) -> "Counted":
        return cls(criterion.worth, criterion.category, criterion.tags)


@dataclass(frozen=True)
class Formula:
    """How verdicts become a score: the options of a request of that name."""

    aggregation: wire.Aggregation = "healthbench"
    soft: bool = False
    threshold: float = 0.5
    min_coverage: float = 1.0
    unjudged: wire.Unjudged | None = None

    @cached_property
    def _chosen(self) -> Aggregation:
        return Aggregation(**wire.aggregation_options(self.aggregation))

    def score(self, criteria: Sequence[Counted], rulings: Sequence[Ruling | None]) -> float | None:
        """The score of one response, whose rulings are those of the criteria; None where too little is known. Raises
        ValueError where `rar_explicit` needs a category that a criterion lacks."""
        formula = self._chosen
        pairs = [(one, ruling) for one, ruling in zip(criteria, rulings, strict=True) if one.points != 0]
        if formula.name == "rar_explicit":
            _check_categories([one for one, _ in pairs])
        judged = [self._mark(one, ruling) for one, ruling in pairs if ruling is not None and ruling.met is not None]
        missing = [one for one, ruling in pairs if ruling is None or ruling.met is None]
        if not judged:
            return None
        if not missing:
            return rounded(formula.of(judged))
        if self.unjudged is None or _coverage(judged, missing) < self.min_coverage - _ROUNDING:
            return None
        low, high = (formula.of([*judged, *(_at(one, good=good) for one in missing)]) for good in (False, True))
        return rounded(low if self.unjudged == "lower" else Fraction(low + high, 2))

    def _mark(self, one: Counted, ruling: Ruling) -> Mark[Counted]:
        """The hard verdict is by the threshold where P(met) is known, else what was logged."""
        met = ruling.met if ruling.p is None else ruling.p >= self.threshold
        value = int(bool(met)) if not self.soft or ruling.p is None else exact(ruling.p)
        return Mark(one, exact(one.points), value, bool(met))


def _check_categories(criteria: Sequence[Counted]) -> None:
    """Raises ValueError where some criteria have a category and others have none."""
    if 0 < sum(one.category is None for one in criteria) < len(criteria):
        raise ValueError("`rar_explicit` weighs by category: give every counted criterion of a rubric one, or none")


def _at(criterion: Counted, *, good: bool) -> Mark[Counted]:
    """The mark of a criterion whose verdict came out as well as it can, or as badly."""
    met = good is (criterion.points > 0)
    return Mark(criterion, exact(criterion.points), int(met), met)


def _coverage(judged: Sequence[Mark[Counted]], missing: Sequence[Counted]) -> float:
    size = sum(mark.size for mark in judged)
    return rounded(Fraction(size, size + sum(_at(one, good=True).size for one in missing)))
