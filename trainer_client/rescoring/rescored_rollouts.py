"""Makes of a rescoring the rollouts that its log would have held, so that they can be read beside the log's.

Guarantees: a verdict is the one that was counted, and a criterion without one says why where the log does. What was
calculated under the log's formula, such as rewards and advantages, is left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from trainer_client import wire
from trainer_client.level_choice import chosen_level, expected_value, p_met
from trainer_client.rescoring.change import Change, Criterion, Rescored, by_question
from trainer_client.rescoring.formula import Ruling, met_at
from trainer_client.rollouts import LoggedVerdict, Rollout


def rescored_rollouts(
    rescored: Iterable[Rescored], change: Change, judge: wire.Judge | None = None
) -> Iterator[Rollout]:
    """The rollouts after the change. `judge` is the one that was asked, where the verdicts are its own."""
    for one in rescored:
        logged = by_question(one.before.criteria, {said.id: said for said in one.rollout.criteria})
        verdicts = tuple(
            _verdict(criterion, ruling, logged.get(criterion.question), change, judge)
            for criterion, ruling in zip(one.after.criteria, one.after.rulings, strict=True)
        )
        yield replace(
            one.rollout,
            rubric=wire.Rubric(criteria=[criterion.source for criterion in one.after.criteria]),
            criteria=verdicts,
            status="ok" if one.after.score is not None else one.rollout.status,
            score=one.after.score,
            reward=None,
            advantage=None,
            judge=one.rollout.judge if judge is None else judge.fingerprint,
            attempts=None,
            coverage=None,
            bounds=None,
            detail=None,
        )


def _verdict(
    criterion: Criterion, ruling: Ruling | None, logged: LoggedVerdict | None, change: Change, judge: wire.Judge | None
) -> LoggedVerdict:
    same = logged if judge is None or (logged is not None and logged.fingerprint == judge.fingerprint) else None
    known = ruling is not None and ruling.met is not None
    p = ruling.p if known and ruling is not None else None
    threshold, values = change.formula.threshold, criterion.counted.values
    p_levels = ruling.p_levels if ruling is not None else None
    return LoggedVerdict(
        id=criterion.key,
        text=criterion.text,
        points=criterion.counted.points,
        tags=criterion.source.tags,
        status="ok" if known else None if same is None or same.met is not None else same.status,
        met=met_at(threshold, criterion.counted, ruling),
        p=p if p_levels is None else p_met(p_levels, values, threshold),
        source=None if same is None else same.source,
        explanation=None if same is None else same.explanation,
        fingerprint=None if same is None else same.fingerprint,
        p_raw=None if same is None else same.p_raw,
        detail=None if same is None or known else same.detail,
        level=None if p_levels is None else chosen_level(p_levels, values, threshold),
        p_levels=p_levels,
        p_levels_raw=_raw(p_levels, same),
        value=None if p_levels is None else expected_value(p_levels, values),
        levels=tuple(option.text for option in criterion.source.options),
        level_values=values,
        extracted=None if same is None or not known else same.extracted,
    )


def _raw(p_levels: Sequence[float] | None, same: LoggedVerdict | None) -> Sequence[float] | None:
    """The probabilities of levels as the judge gave them, where a calibration changed them."""
    if p_levels is None or same is None or same.p_levels is None:
        return None
    raw = same.p_levels if same.p_levels_raw is None else same.p_levels_raw
    return None if list(raw) == list(p_levels) and same.p_levels_raw is None else raw
