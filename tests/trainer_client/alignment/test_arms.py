"""The arms of the study, and which of them pairs allow."""

from tests.trainer_client.alignment.studies import pair
from trainer_client.alignment.arms import ARMS, NAMES, arms_for, asks_of


def test_an_arm_without_rubric_or_reference_sees_neither() -> None:
    for arm in ARMS:
        assert arm.ask.reference == ("reference" in arm.name)
        shown = arm.ask.mode in ("verdict", "implicit") or "rubric" in arm.name
        assert arm.ask.rubric == shown


def test_each_arm_is_set_against_arms_that_exist_and_come_before_it() -> None:
    for place, arm in enumerate(ARMS):
        assert set(arm.without) <= set(NAMES[:place])


def test_pairs_allow_what_they_have() -> None:
    bare, ruled = pair(0, rubric=False), pair(1)
    whole = pair(2, reference=True)
    assert [arm.name for arm in arms_for([bare], ())] == ["likert", "compare"]
    assert len(arms_for([bare, ruled], ())) == 6
    assert arms_for([bare, whole], ()) == list(ARMS)
    assert arms_for([bare], ["implicit"]) == []


def test_hard_and_soft_read_one_answer() -> None:
    names = [ask.name for ask in asks_of(ARMS)]
    assert len(names) == len(set(names)) == 10
