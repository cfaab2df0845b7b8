"""Accuracies, ties, missing answers and differences, against hand calculations."""

from pathlib import Path

import pytest

from tests.trainer_client.alignment.studies import answered, judge, open_store, pair
from trainer_client.alignment.answers import Answer
from trainer_client.alignment.arms import ARMS
from trainer_client.alignment.figures import JudgeResult, arm_result, differences

BY_NAME = {arm.name: arm for arm in ARMS}


def rating(value: float) -> Answer:
    return Answer("ok", rating=value)


def test_a_tie_is_one_half_and_what_was_not_judged_is_in_no_accuracy(tmp_path: Path) -> None:
    arm, pairs, one = BY_NAME["likert"], [pair(n, "half" if n < 3 else "empty") for n in range(6)], judge()
    with open_store(tmp_path / "s") as store:
        answered(store, one, arm, pairs[0], rating(7), rating(3))
        answered(store, one, arm, pairs[1], rating(3), rating(7))
        answered(store, one, arm, pairs[2], rating(5), rating(5 + 1e-12))
        answered(store, one, arm, pairs[3], rating(9), rating(1))
        answered(store, one, arm, pairs[4], rating(9), Answer("abstained"))
        found = arm_result(one, arm, pairs, store)
    assert found.outcomes == (1.0, 0.0, 0.5, 1.0, None, None)
    assert (found.right, found.ties, found.wrong, found.accuracy.value, found.accuracy.n) == (2, 1, 1, 2.5 / 4, 4)
    assert found.not_judged == {"abstained": 1, "no answer": 1}
    assert {kind: figure.value for kind, figure in found.by_kind.items()} == {"half": 0.5, "empty": 1.0}
    assert found.accuracy.low is not None


def test_hard_and_soft_order_one_answer_each_by_its_own_number(tmp_path: Path) -> None:
    arm, soft, pairs, one = (
        BY_NAME["explicit-hard"],
        BY_NAME["explicit-soft"],
        [pair(0), pair(1, rubric=False)],
        judge(),
    )
    with open_store(tmp_path / "s") as store:
        answered(store, one, arm, pairs[0], Answer("ok", hard=5, soft=3.0), Answer("ok", hard=5, soft=2.5))
        assert arm_result(one, arm, pairs, store).outcomes == (0.5, None)
        found = arm_result(one, soft, pairs, store)
    assert found.outcomes == (1.0, None)
    assert found.not_judged == {}, "a pair without a rubric is not asked about"


def test_pairs_that_are_compared_show_the_effect_of_their_order(tmp_path: Path) -> None:
    arm, pairs, one = BY_NAME["compare"], [pair(n) for n in range(4)], judge()
    with open_store(tmp_path / "s") as store:
        for n, p in enumerate((0.9, 0.5, 0.2)):
            answered(store, one, arm, pairs[n], Answer("ok", p=p, order_effect=0.1 * n, disagrees=n == 1))
        answered(store, one, arm, pairs[3], Answer("abstained"))
        found = arm_result(one, arm, pairs, store)
    assert found.outcomes == (1.0, 0.5, 0.0, None)
    assert found.order_effect is not None and found.order_effect.value == pytest.approx(0.1)
    assert found.disagreeing is not None and found.disagreeing.value == pytest.approx(1 / 3)


def test_differences_are_over_the_pairs_that_both_sides_judged(tmp_path: Path) -> None:
    likert, implicit = BY_NAME["likert"], BY_NAME["implicit"]
    pairs, judges = [pair(n) for n in range(4)], [judge("one"), judge("two")]
    good, bad = (rating(9), rating(1)), (rating(1), rating(9))
    with open_store(tmp_path / "s") as store:
        for n, (mine, theirs) in enumerate(((good, bad), (good, bad), (good, good), (bad, bad))):
            answered(store, judges[0], implicit, pairs[n], *mine)
            answered(store, judges[0], likert, pairs[n], *theirs)
            if n:
                answered(store, judges[1], implicit, pairs[n], *bad)
        arms = (likert, implicit)
        results = [
            JudgeResult(one.name, {}, tuple(arm_result(one, arm, pairs, store) for arm in arms), {}) for one in judges
        ]
    found = {(one.among, one.one, one.other): one.more for one in differences(results, pairs)}
    assert found["one", "implicit", "likert"].value == (1 + 1 + 0 + 0) / 4
    more = found["implicit", "two", "one"]
    assert more.value == pytest.approx((-1 - 1 + 0) / 3)
    assert more.n == 3
    assert found["likert", "two", "one"].value is None
