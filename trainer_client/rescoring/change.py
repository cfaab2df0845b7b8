"""Says what is changed in a rescoring, and makes of each logged rollout its rulings before and after.

Guarantees: a verdict is the log's or a judge's answer. Where neither has one there is none, and a calibration changes
only P(met) that the log holds as the judge gave it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer_client import wire
from trainer_client.calibration import curves
from trainer_client.errors import DataError
from trainer_client.rescoring.formula import Counted, Formula, Ruling
from trainer_client.rollouts import LoggedVerdict, Rollout


@dataclass(frozen=True, slots=True)
class Criterion:
    """A criterion of one side of the comparison. `source` is the wire's, to send it to a judge."""

    key: str
    text: str
    counted: Counted
    source: wire.Criterion

    @classmethod
    def of(cls, id: str, criterion: wire.Criterion) -> "Criterion":
        return cls(id, criterion.judged_text, Counted.of(criterion), criterion)


@dataclass(frozen=True, slots=True)
class Side:
    """The criteria of a rollout with their rulings, and the score that a formula makes of them."""

    criteria: Sequence[Criterion]
    rulings: Sequence[Ruling | None]
    score: float | None


@dataclass(frozen=True, slots=True)
class Rescored:
    """One rollout. `logged` is the score in the log; `before` what the log's verdicts give by the log's formula."""

    rollout: Rollout
    logged: float | None
    before: Side
    after: Side


@dataclass(frozen=True, slots=True)
class Change:
    """What is different: `formula` in place of `logged`, other rubrics, a calibration, verdicts of a judge. `answer`
    gives the ruling of a judge on a criterion of a rollout, or None where it was not asked or did not say."""

    logged: Formula
    formula: Formula
    rubric: Callable[[Rollout], wire.Rubric] | None = None
    calibration: wire.Calibration | None = None
    answer: Callable[[Rollout, Criterion], Ruling | None] | None = None

    def of(self, rollout: Rollout) -> Rescored:
        """Raises DataError for a rollout without criteria, or one whose criteria the formula cannot score."""
        criteria = criteria_of(rollout)
        said = {one.id: one for one in rollout.criteria}
        logged = [ruling_of(said.get(one.key)) for one in criteria]
        try:
            before = Side(criteria, logged, self.logged.score([one.counted for one in criteria], logged))
            after = self._after(rollout, criteria, said)
        except ValueError as error:
            raise DataError(f"{rollout.place}: {error}") from None
        return Rescored(rollout, rollout.score, before, after)

    def _after(self, rollout: Rollout, own: Sequence[Criterion], said: Mapping[str, LoggedVerdict]) -> Side:
        criteria = own if self.rubric is None else named(self.rubric(rollout))
        rulings = [self._ruling(rollout, one, by_text(own, said)) for one in criteria]
        return Side(criteria, rulings, self.formula.score([one.counted for one in criteria], rulings))

    def _ruling(self, rollout: Rollout, criterion: Criterion, said: Mapping[str, LoggedVerdict]) -> Ruling | None:
        if self.answer is not None:
            return self.answer(rollout, criterion)
        logged = said.get(criterion.text)
        if self.calibration is None or logged is None:
            return ruling_of(logged)
        return calibrated(self.calibration, criterion, logged)


def criteria_of(rollout: Rollout) -> list[Criterion]:
    """The criteria of its rubric, or where the log holds none, of its verdicts. Raises DataError without either."""
    if [one.id for one in rollout.criteria] == ["rating"]:
        raise DataError(
            f"{rollout.place}: this response was rated as a whole, so that there are no verdicts to count in another "
            "way; score it again with `rubricd score`"
        )
    if any(one.level is not None for one in rollout.criteria) or (
        rollout.rubric is not None and any(one.options for one in rollout.rubric.criteria)
    ):
        raise DataError(
            f"{rollout.place}: a criterion has levels or choices, whose values cannot be counted in another way here; "
            "score the response again with `rubricd score`"
        )
    if rollout.rubric is not None:
        return named(rollout.rubric)
    found = []
    for one in rollout.criteria:
        if one.text is None or one.points is None:
            raise DataError(f"{rollout.place}: the log holds no rubric, and its verdicts no text and points")
        criterion = wire.Criterion(text=one.text, points=one.points, id=one.id, tags=dict(one.tags))
        found.append(Criterion.of(one.id, criterion))
    if not found:
        raise DataError(f"{rollout.place}: the log holds neither a rubric nor verdicts on criteria")
    return found


def named(rubric: wire.Rubric) -> list[Criterion]:
    return [Criterion.of(id, one) for id, one in zip(rubric.ids(), rubric.criteria, strict=True)]


def by_text(criteria: Sequence[Criterion], said: Mapping[str, LoggedVerdict]) -> dict[str, LoggedVerdict]:
    """The logged verdicts by the text that the judge read."""
    return {one.text: said[one.key] for one in criteria if one.key in said}


def ruling_of(said: LoggedVerdict | None) -> Ruling | None:
    """The verdict of a log; None where there is none. A rule's has no probability."""
    if said is None or said.met is None:
        return None
    return Ruling(said.met, None if said.source == "rule" else said.p)


def calibrated(calibration: wire.Calibration, criterion: Criterion, said: LoggedVerdict) -> Ruling | None:
    """The verdict with P(met) by another calibration. A rule's stays; without the judge's own P(met) there is none."""
    if said.met is None or said.source == "rule":
        return ruling_of(said)
    raw = said.p_raw
    if raw is None:
        return None
    curve = next(one.curve for one in calibration.curves if _is_for(one, criterion))
    p = float(curves.apply(curve, np.array([raw]), None)[0])
    return Ruling(said.met, p)


def _is_for(one: wire.CalibrationCurve, criterion: Criterion) -> bool:
    sign = "negative" if criterion.counted.points < 0 else "positive"
    if one.sign not in (None, sign):
        return False
    return one.tag is None or criterion.counted.tags.get(one.tag[0]) == one.tag[1]


def chosen(calibrations: Sequence[wire.Calibration], judges: set[str], file: str) -> wire.Calibration:
    """The calibration for the judge of a log. Raises DataError where the file has none for it, or one that needs
    queries which the log does not hold."""
    if len(calibrations) == 1:
        found = calibrations[0]
    else:
        fits = [one for one in calibrations if one.judge in judges]
        if len(fits) != 1:
            raise DataError(f"{file}: none of its calibrations, or several, is for the judge of this log")
        found = fits[0]
    if any(isinstance(one.curve, wire.Line) and one.curve.prior_weight > 0 for one in found.curves):
        raise DataError(
            f"{file}: its curve weighs the judge's word on empty content, which a log does not hold; fit another with "
            "`rubricd calibrate --method platt`, or ask the calibrated judge with --url"
        )
    return found


def settings_of(formula: Formula) -> dict[str, Any]:
    """A formula as a person reads it."""
    chosen = formula.aggregation
    return {
        "aggregation": chosen if isinstance(chosen, str) else chosen.model_dump(mode="json"),
        "soft": formula.soft,
        "threshold": formula.threshold,
        "min_coverage": formula.min_coverage,
        "unjudged": formula.unjudged,
    }
