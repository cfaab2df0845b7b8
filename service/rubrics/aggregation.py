"""Aggregation turns the judgements of a rubric's criteria into one score. Pure.

Guarantees: what was not judged shows as coverage below one and as bounds, between which the whole rubric's score lies
however the missing verdicts would have come out. The score of a rubric that was judged in part is one of these bounds,
or their middle, or None: an aggregation over the judged alone would pay an unjudged fault like one that is not there.
Sums are exact fractions, rounded once at the end, so a score depends on neither order nor magnitude of the points and
is finite.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from service.errors import InvalidRequest
from service.rubrics.debias import LINEAR, Rates
from service.rubrics.error_bounds import corrected, widened
from service.rubrics.judgement import Judgement
from service.rubrics.marks import judged_mark, mark_at
from service.rubrics.rubric import Criterion
from trainer_client.formulas import Aggregation, Exact, Mark, rounded

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
class _Marks:
    """The marks of the counted criteria: those with a verdict, and those without at their worst and at their best."""

    judged: Sequence[Mark[Criterion]]
    worst: Sequence[Mark[Criterion]]
    best: Sequence[Mark[Criterion]]

    @property
    def coverage(self) -> float:
        size = sum(mark.size for mark in self.judged)
        return rounded(Fraction(size, size + sum(mark.size for mark in self.worst)))


def check(chosen: Aggregation, criteria: Sequence[Criterion]) -> None:
    """Raise InvalidRequest where `chosen` cannot score these criteria, so that it is known before anything is judged:
    `rar_explicit` needs a category on every counted criterion, or on none. Locations are indexes into `criteria`."""
    if chosen.name != "rar_explicit":
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
    chosen: Aggregation,
    criteria: Sequence[Criterion],
    judgements: Sequence[Judgement],
    *,
    soft: bool = False,
    min_coverage: float = 1.0,
    unjudged: Unjudged | None = None,
    rates: Rates | None = None,
    threshold: float = 0.5,
) -> Score:
    """The score of one response: `judgements[i]` is of `criteria[i]`. Criteria with 0 points do not count.

    `bounds` is the aggregation over all of them with the unjudged at their worst and at their best. `value` is it where
    all were judged. Where some were and `coverage` reaches `min_coverage`, it is what `unjudged` says: the lower bound,
    the middle of the bounds, or None. With `rates` the value is corrected for the judge's errors, so that its mean is
    right and it may lie outside of the aggregation's range; the bounds then hold the score without errors with 95 %.
    An unjudged graded criterion is at its worst or best option for its sign; `threshold` says which of them are met.
    Raises InvalidRequest as `check` does, and ValueError for lengths that differ or numbers that no judge may give.
    """
    check(chosen, criteria)
    if rates is not None and chosen.name not in LINEAR:
        raise ValueError("a correction needs an aggregation that is a weighted sum")
    marks = _marks(criteria, judgements, soft, threshold)
    if not marks.judged and not marks.worst:
        return Score(value=None, bounds=None, coverage=1.0, status="ok")
    if not marks.worst:
        return _whole(chosen, marks.judged, rates)
    low, high = _bounds(chosen, marks, rates)
    value = None
    if unjudged is not None and marks.judged and marks.coverage >= min_coverage - _ROUNDING:
        value = rounded(low if unjudged == "lower" else Fraction(low + high, 2))
    status: Literal["partial", "failed"] = "partial" if marks.judged else "failed"
    return Score(value=value, bounds=(rounded(low), rounded(high)), coverage=marks.coverage, status=status)


def _marks(criteria: Sequence[Criterion], judgements: Sequence[Judgement], soft: bool, threshold: float) -> _Marks:
    judged: list[Mark[Criterion]] = []
    missing: list[Criterion] = []
    for criterion, judgement in zip(criteria, judgements, strict=True):
        if criterion.points == 0:  # monitor only
            continue
        if judgement.status == "ok":
            judged.append(judged_mark(criterion, judgement, soft))
        else:
            missing.append(criterion)
    worst, best = ([mark_at(one, good=good, threshold=threshold) for one in missing] for good in (False, True))
    return _Marks(judged, worst, best)


def _whole(chosen: Aggregation, marks: Sequence[Mark[Criterion]], rates: Rates | None) -> Score:
    """The score where every counted criterion was judged."""
    if rates is None:
        value = rounded(chosen.of(marks))
        return Score(value=value, bounds=(value, value), coverage=1.0, status="ok")
    value = rounded(chosen.of([corrected(mark, rates) for mark in marks]))
    low, high = widened(chosen, marks, (), (), rates)
    return Score(value=value, bounds=(rounded(low), rounded(high)), coverage=1.0, status="ok")


def _bounds(chosen: Aggregation, marks: _Marks, rates: Rates | None) -> tuple[Exact, Exact]:
    if rates is not None:
        return widened(chosen, marks.judged, marks.worst, marks.best, rates)
    return chosen.of([*marks.judged, *marks.worst]), chosen.of([*marks.judged, *marks.best])
