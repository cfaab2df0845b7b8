"""Says what is changed in a rescoring, and makes of each logged rollout its rulings before and after.

Guarantees: a verdict is the log's or a judge's answer on the same question, which is the criterion's text with those of
its levels, the value that it extracts and the rule that decides. Where neither has one there is none, and a calibration
changes only P(met) that the log holds as the judge gave it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from trainer_client import wire
from trainer_client.calibration import curves
from trainer_client.errors import DataError
from trainer_client.level_choice import calibrated_levels
from trainer_client.rescoring.formula import Counted, Formula, Ruling
from trainer_client.rollouts import LoggedVerdict, Rollout

Question = tuple[str, str | None]


@dataclass(frozen=True)
class Criterion:
    """A criterion of one side of the comparison. `source` is the wire's, to send it to a judge."""

    key: str
    text: str
    counted: Counted
    source: wire.Criterion

    @classmethod
    def of(cls, id: str, criterion: wire.Criterion) -> "Criterion":
        return cls(id, criterion.judged_text, Counted.of(criterion), criterion)

    @cached_property
    def question(self) -> Question:
        """What a verdict depends on: what the judge reads of the criterion, and the rule where one decides. Points and
        the values of levels are not in it."""
        source = self.source
        if source.plain and source.verifier is None:  # most of them
            return self.text, None
        rule, extract = source.verifier, source.extract
        more = [
            [option.text for option in source.options],
            None if rule is None else rule.model_dump(mode="json", by_alias=True),
            None if extract is None else extract.model_dump(mode="json", by_alias=True),
        ]
        return self.text, json.dumps(more, sort_keys=True)


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
    """What is different: `formula` in place of `logged`, other rubrics, a calibration of P(met) and one of levels, a
    judge's verdicts. `answer` gives the ruling of a judge on a criterion of a rollout, or None where it was not asked
    or did not say."""

    logged: Formula
    formula: Formula
    rubric: Callable[[Rollout], wire.Rubric] | None = None
    calibration: wire.Calibration | None = None
    levels: wire.LevelCalibration | None = None
    answer: Callable[[Rollout, Criterion], Ruling | None] | None = None

    def of(self, rollout: Rollout) -> Rescored:
        """Raises DataError for a rollout without criteria, or one whose criteria the formula cannot score."""
        criteria = criteria_of(rollout)
        said = {one.id: one for one in rollout.criteria}
        logged = [ruling_of(one, said.get(one.key)) for one in criteria]
        try:
            if self.answer is None:
                _check_probabilities(criteria, said)
            before = Side(criteria, logged, self.logged.score([one.counted for one in criteria], logged))
            after = self._after(rollout, criteria, said)
        except DataError:  # of the other rubric, which names its place
            raise
        except ValueError as error:
            raise DataError(f"{rollout.place}: {error}") from None
        return Rescored(rollout, rollout.score, before, after)

    def _after(self, rollout: Rollout, own: Sequence[Criterion], said: Mapping[str, LoggedVerdict]) -> Side:
        criteria = own if self.rubric is None else named(self.rubric(rollout))
        known = by_question(own, said)
        rulings = [self._ruling(rollout, one, known) for one in criteria]
        return Side(criteria, rulings, self.formula.score([one.counted for one in criteria], rulings))

    def _ruling(self, rollout: Rollout, criterion: Criterion, said: Mapping[Question, LoggedVerdict]) -> Ruling | None:
        if self.answer is not None:
            return self.answer(rollout, criterion)
        logged = said.get(criterion.question)
        ruling = ruling_of(criterion, logged)
        if ruling is None or logged is None or logged.source == "rule":
            return ruling
        if criterion.counted.values:
            return ruling if self.levels is None else calibrated_by(self.levels, ruling, logged)
        if self.calibration is None or not criterion.source.plain:
            return ruling
        return calibrated(self.calibration, criterion, logged)


def criteria_of(rollout: Rollout) -> list[Criterion]:
    """The criteria of its rubric, or where the log holds none, of its verdicts. Raises DataError without either."""
    if [one.id for one in rollout.criteria] == ["rating"]:
        raise DataError(
            f"{rollout.place}: this response was rated as a whole, so that there are no verdicts to count in another "
            "way; score it again with `rubricd score`"
        )
    if rollout.rubric is not None:
        return named(rollout.rubric)
    found = []
    for one in rollout.criteria:
        if one.text is None or one.points is None:
            raise DataError(f"{rollout.place}: the log holds no rubric, and its verdicts no text and points")
        if one.level is not None:
            raise DataError(
                f"{rollout.place}: the log holds no rubric, and verdict {one.id} is of a level without values"
            )
        criterion = wire.Criterion(text=one.text, points=one.points, id=one.id, tags=dict(one.tags))
        found.append(Criterion.of(one.id, criterion))
    if not found:
        raise DataError(f"{rollout.place}: the log holds neither a rubric nor verdicts on criteria")
    return found


def named(rubric: wire.Rubric) -> list[Criterion]:
    return [Criterion.of(id, one) for id, one in zip(rubric.ids(), rubric.criteria, strict=True)]


def by_question(criteria: Sequence[Criterion], said: Mapping[str, LoggedVerdict]) -> dict[Question, LoggedVerdict]:
    """The logged verdicts by what was asked."""
    return {one.question: said[one.key] for one in criteria if one.key in said}


def ruling_of(criterion: Criterion, said: LoggedVerdict | None) -> Ruling | None:
    """The verdict of a log; None where there is none. A rule's has no probability. Of a graded criterion it needs
    the probabilities of its levels."""
    if said is None or said.met is None:
        return None
    if criterion.counted.values and said.p_levels is None:
        return None
    p_levels = None if said.p_levels is None else tuple(map(float, said.p_levels))
    return Ruling(said.met, None if said.source == "rule" else said.p, p_levels)


def _check_probabilities(criteria: Sequence[Criterion], said: Mapping[str, LoggedVerdict]) -> None:
    """Raises ValueError for a verdict on levels or choices without their probabilities, of which no score follows."""
    for one in criteria:
        logged = said.get(one.key)
        if one.counted.values and logged is not None and logged.met is not None and logged.p_levels is None:
            raise ValueError(
                f"verdict {logged.id} is on levels or choices, and the log has no `p_levels` of it, so that it cannot "
                "be counted in another way; ask a judge again with --url"
            )


def calibrated_by(calibration: wire.LevelCalibration, ruling: Ruling, said: LoggedVerdict) -> Ruling:
    """The verdict on levels with their probabilities by another calibration. A log that has no others has those as the
    judge gave them."""
    raw = ruling.p_levels if said.p_levels_raw is None else tuple(map(float, said.p_levels_raw))
    biases = {len(one): one for one in calibration.biases}
    return replace(ruling, p_levels=calibrated_levels(raw or (), calibration.temperature, biases))


def calibrated(calibration: wire.Calibration, criterion: Criterion, said: LoggedVerdict) -> Ruling | None:
    """The judge's verdict with P(met) by another calibration; None without its own P(met)."""
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


def chosen_levels(file: wire.CalibrationFile, name: str) -> wire.LevelCalibration | None:
    """The calibration of levels of a file. Raises DataError where it has several: a log does not say how its judge read
    levels, and that is what they differ by."""
    if len(file.levels) > 1:
        raise DataError(f"{name}: it has several calibrations of levels, and a log does not say which is its judge's")
    return file.levels[0] if file.levels else None


def chosen(calibrations: Sequence[wire.Calibration], judges: set[str], file: str) -> wire.Calibration | None:
    """The calibration for the judge of a log; None of a file that calibrates levels alone. Raises DataError where the
    file has none for it, or one that needs queries which the log does not hold."""
    if not calibrations:
        return None
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
