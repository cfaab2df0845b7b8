"""Makes marks of judged criteria: what a formula adds up. Pure.

Guarantees: there is no mark of a verdict that no judge may give.
"""

from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Criterion
from trainer_client.formulas import Mark, exact
from trainer_client.level_choice import is_met


def judged_mark(criterion: Criterion, judgement: Judgement, soft: bool) -> Mark[Criterion]:
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


def _graded_mark(criterion: Criterion, judgement: Judgement, soft: bool) -> Mark[Criterion]:
    """The value of the option that was taken, or the expected one. Raises ValueError for what no judge may give."""
    if judgement.level is None or judgement.value is None or judgement.met is None:
        raise ValueError("a judgement of a graded criterion has no level")
    if not 0 <= judgement.value <= 1:
        raise ValueError("the expected value is no share of the points")
    value = judgement.value if soft else criterion.options[judgement.level].value
    return Mark(criterion, exact(criterion.points), exact(value), judgement.met, by_judge=True)


def mark_at(criterion: Criterion, *, good: bool, threshold: float = 0.5) -> Mark[Criterion]:
    """The mark of a criterion whose verdict came out as well as it can, or as badly. `threshold` is that of a value
    which is met."""
    if criterion.graded:
        values = [option.value for option in criterion.options]
        value = max(values) if good is (criterion.points > 0) else min(values)
        return Mark(criterion, exact(criterion.points), exact(value), is_met(value, threshold))
    met = good is (criterion.points > 0)
    return Mark(criterion, exact(criterion.points), int(met), met)
