"""Corrects a score for its judge's known errors, and widens its bounds by as much as they can move it. Pure.

Guarantees: the corrected value is right on average. The bounds stay within what verdicts could have given at all.
"""

from collections.abc import Sequence
from dataclasses import replace

from service.rubrics.debias import Rates, corrected_value, most_error
from service.rubrics.marks import mark_at
from service.rubrics.rubric import Criterion
from trainer_client.formulas import Aggregation, Exact, Mark, exact


def corrected(mark: Mark[Criterion], rates: Rates) -> Mark[Criterion]:
    """The mark with the value whose mean is the truth. A rule makes no errors."""
    known = rates[mark.sign] if mark.by_judge else None
    if known is None:
        return mark
    return replace(mark, value=corrected_value(mark.met, known))


def widened(
    chosen: Aggregation,
    judged: Sequence[Mark[Criterion]],
    worst: Sequence[Mark[Criterion]],
    best: Sequence[Mark[Criterion]],
    rates: Rates,
) -> tuple[Exact, Exact]:
    """The bounds by the verdicts, moved by as much as errors can have moved the score, within what is possible at all.
    How far errors can raise the score is taken of the truth under which they raise it most."""
    marks = [*judged, *worst]
    raised: list[tuple[float, float]] = []
    lowered: list[tuple[float, float]] = []
    whole = float(sum(_part(chosen, mark) for mark in marks))
    if chosen.name == "healthbench":
        whole = float(sum(mark.size for mark in marks if mark.points > 0) or whole)
    for mark in judged:
        known = rates[mark.sign] if mark.by_judge else None
        if known is None:
            continue
        part = float(_part(chosen, mark)) / whole
        up, down = known.most_false_positive, known.most_false_negative
        raised.append((part, up if mark.points > 0 else down))
        lowered.append((part, down if mark.points > 0 else up))
    low = chosen.of(marks) - exact(most_error(raised))
    high = chosen.of([*judged, *best]) + exact(most_error(lowered))
    least = [mark_at(mark.criterion, good=not mark.by_judge and mark.passed) for mark in judged]
    most = [mark_at(mark.criterion, good=mark.by_judge or mark.passed) for mark in judged]
    return max(low, chosen.of([*least, *worst])), min(high, chosen.of([*most, *best]))


def _part(chosen: Aggregation, mark: Mark[Criterion]) -> Exact:
    return 1 if chosen.name == "mean" else chosen.weight(mark)
