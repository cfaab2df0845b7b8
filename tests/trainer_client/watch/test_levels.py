"""Criteria with levels in the figures and alarms of a run: by the share of the points, and no level as met in full."""

from dataclasses import replace

import numpy as np
import pytest

from tests.trainer_client.watch import made
from trainer_client.audit.askings import Judged
from trainer_client.rollouts import LoggedVerdict, Rollout
from trainer_client.watch import criteria, shadow
from trainer_client.watch.alarms import Declared, alarms
from trainer_client.watch.observed import Observed
from trainer_client.watch.picks import Picker, sample
from trainer_client.watch.watching import examined, verdicts_of

POINTS = {"a": 3.0, "b": 2.0, "bad": -2.0}
VALUES = (0.0, 0.5, 1.0)


def graded(rollout: Rollout, **levels: int | None) -> Rollout:
    """The rollout with these criteria on levels, of the judge and of every other one."""

    def all_of(said: tuple[LoggedVerdict, ...]) -> tuple[LoggedVerdict, ...]:
        return tuple(_at(one, levels[one.id]) if one.id in levels else one for one in said)

    others = {name: all_of(said) for name, said in rollout.others.items()}
    return replace(rollout, criteria=all_of(rollout.criteria), others=others)


def _at(one: LoggedVerdict, level: int | None) -> LoggedVerdict:
    return replace(one, level=level, level_values=VALUES, met=None if level is None else VALUES[level] >= 0.5)


def _run(levels: list[int | None], answers: list[str], steps: int = 1) -> Observed:
    observed = Observed()
    for step in range(steps):
        met = [{"a": True, "b": n % 2 == 0, "bad": False} for n in range(len(levels))]
        rows = [made.rollout(step, "g", answer, one, POINTS, 0.0) for answer, one in zip(answers, met, strict=True)]
        observed.add([graded(one, a=level) for one, level in zip(rows, levels, strict=True)])
    return observed


def test_figures_by_hand() -> None:
    """Levels 1, 2, 1, 2 are all met, and differ: the criterion tells answers apart and follows their length."""
    found = criteria.figures(_run([1, 2, 1, 2], ["x", "xxx", "x", "xxx"]).table())
    assert found.pass_rate.tolist() == [1.0, 0.5, 0.0]
    assert found.informative.tolist() == [1.0, 1.0, 0.0]
    assert found.length[0] == pytest.approx(1.0)
    assert found.discrimination[0] == pytest.approx(-1.0), "where it earns more, `b` is not met"


def test_the_same_middle_level_everywhere_is_not_informative_and_a_missing_one_is_in_nothing() -> None:
    same = criteria.figures(_run([1, 1, 1, None], ["x"] * 4).table())
    assert (same.informative[0], same.verdicts[0], same.missing[0]) == (0.0, 3, 0.25)


def test_a_level_of_unknown_value_has_no_share() -> None:
    rollout = made.rollout(0, "g", "x", {"a": True, "b": True, "bad": True}, POINTS)
    bare = replace(rollout.criteria[0], level=1)
    assert bare.share is None and rollout.criteria[0].share == 1.0
    assert replace(bare, level_values=(0.2, 0.7)).share == 0.7
    assert replace(bare, level_values=(0.2,)).share is None
    assert replace(bare, met=None, level_values=(0.2, 0.7)).share is None
    observed = Observed()
    observed.add([replace(rollout, criteria=(bare, *rollout.criteria[1:]))])
    table = observed.table()
    assert np.isnan(table.value[0]) and table.value[1:].tolist() == [1.0, 0.0]
    assert [one.graded for one in table.criteria] == [True, False, False]


def test_levels_that_are_all_met_and_differ_raise_no_alarm_that_they_teach_nothing() -> None:
    answers = ["x", "xxx", "xx", "x"]
    found = alarms(_run([1, 2, 2, 1], answers, steps=300).table(), None, Declared())
    assert ("always_met", "a") not in [(one.kind, one.criterion.id) for one in found if one.criterion]
    found = alarms(_run([2, 2, 2, 2], answers, steps=300).table(), None, Declared())
    assert ("always_met", "a") in [(one.kind, one.criterion.id) for one in found if one.criterion]
    found = alarms(_run([0, 0, 0, 0], answers, steps=300).table(), None, Declared())
    assert ("never_met", "a") in [(one.kind, one.criterion.id) for one in found if one.criterion]


def test_other_judges_are_compared_by_shares_and_left_out_where_their_level_is_not_known() -> None:
    met = {"a": True, "b": True, "bad": False}
    rollout = made.rollout(0, "g", "x", met, POINTS, 0.0, {"examiner": met})
    own = graded(rollout, a=2, bad=1)
    other = {"examiner": graded(rollout, a=1, bad=0).criteria}
    found = sample(list(Picker(1.0).picked([replace(own, others=other)])), examined)
    assert found.credit.tolist() == [1.0, 1.0, 0.5] and found.others.tolist() == [0.5, 1.0, 1.0]
    assert shadow.gaps(found) == pytest.approx([(3 * 0.5 - 2 * 0.5) / 7])


def test_a_shadows_levels_are_worth_what_the_log_says_of_them() -> None:
    own = graded(made.rollout(0, "g", "x", dict.fromkeys(POINTS, True), POINTS, 0.0), a=2, bad=1)
    answer = {"a": Judged(0.9, True, 1), "b": Judged(0.9, True), "bad": Judged(0.9, True, 2)}
    assert verdicts_of(answer, own) == {"a": 0.5, "b": 1.0, "bad": 1.0}
    # Kept before levels were, of a rubric with fewer levels, and in a log that does not say what they are worth.
    assert verdicts_of({id: Judged(0.9, True) for id in POINTS}, own) == {"b": 1.0}
    assert verdicts_of({**answer, "a": Judged(0.9, True, 3)}, own) == {"b": 1.0, "bad": 1.0}
    bare = replace(own, criteria=tuple(replace(one, level_values=()) for one in own.criteria))
    assert verdicts_of(answer, bare) == {"b": 1.0}
