"""Computes the score of a response from its verdicts, as the service does, bit by bit: no judge is asked for it.

The formulas and the choice of a level are those of the service; what a log has of a verdict is less, and becomes their
marks here.

Guarantees: sums are exact fractions, rounded once at the end. A criterion without a verdict is None, never 0 or False:
its score is what `unjudged` says, or None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from trainer_client import wire
from trainer_client.formulas import Aggregation, Mark, exact, rounded
from trainer_client.level_choice import chosen_level, expected_value, is_met

_ROUNDING = 1e-9
"""A `min_coverage` that a caller added up in floats may exceed the share that it means."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is known of a criterion: `met` is None without a verdict, `p` also for a rule's. Of a graded criterion
    `p_levels` decide, and no threshold of the log."""

    met: bool | None
    p: float | None = None
    p_levels: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """What a formula reads of a criterion: the points as counted, its category, its tags, and where it is graded the
    values of its levels or choices."""

    points: float
    category: wire.Category | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, criterion: wire.Criterion) -> "Counted":
        values = tuple(option.value for option in criterion.options)
        return cls(criterion.worth, criterion.category, criterion.tags, values)


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
        ValueError where `rar_explicit` needs a category that a criterion lacks, and for a verdict that is not on the
        criterion's levels."""
        _check_levels(criteria, rulings)
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
        low, high = (formula.of([*judged, *(self._at(one, good=good) for one in missing)]) for good in (False, True))
        return rounded(low if self.unjudged == "lower" else Fraction(low + high, 2))

    def _mark(self, one: Counted, ruling: Ruling) -> Mark[Counted]:
        met = bool(met_at(self.threshold, one, ruling))
        if ruling.p_levels is not None:
            level = chosen_level(ruling.p_levels, one.values, self.threshold)
            value = expected_value(ruling.p_levels, one.values) if self.soft else one.values[level]
            return Mark(one, exact(one.points), exact(value), met)
        return Mark(one, exact(one.points), int(met) if not self.soft or ruling.p is None else exact(ruling.p), met)

    def _at(self, one: Counted, *, good: bool) -> Mark[Counted]:
        """The mark of a criterion whose verdict came out as well as it can, or as badly."""
        wanted = good is (one.points > 0)
        if not one.values:
            return Mark(one, exact(one.points), int(wanted), wanted)
        value = max(one.values) if wanted else min(one.values)
        return Mark(one, exact(one.points), exact(value), is_met(value, self.threshold))


def met_at(threshold: float, one: Counted, ruling: Ruling | None) -> bool | None:
    """The hard verdict: by the threshold where probabilities are known, else what was logged."""
    if ruling is None or ruling.met is None:
        return None
    if ruling.p_levels is not None:
        return is_met(one.values[chosen_level(ruling.p_levels, one.values, threshold)], threshold)
    return ruling.met if ruling.p is None else ruling.p >= threshold


def _check_levels(criteria: Sequence[Counted], rulings: Sequence[Ruling | None]) -> None:
    """Raises ValueError for a verdict on another number of levels than its criterion has, of none where it has some."""
    for one, ruling in zip(criteria, rulings, strict=True):
        if ruling is not None and ruling.met is not None and len(ruling.p_levels or ()) != len(one.values):
            raise ValueError(
                f"a verdict has the probabilities of {len(ruling.p_levels or ())} levels or choices, and its criterion "
                f"has {len(one.values)}"
            )


def _check_categories(criteria: Sequence[Counted]) -> None:
    """Raises ValueError where some criteria have a category and others have none."""
    if 0 < sum(one.category is None for one in criteria) < len(criteria):
        raise ValueError("`rar_explicit` weighs by category: give every counted criterion of a rubric one, or none")


def _coverage(judged: Sequence[Mark[Counted]], missing: Sequence[Counted]) -> float:
    size = sum(mark.size for mark in judged)
    return rounded(Fraction(size, size + sum(exact(abs(one.points)) for one in missing)))
