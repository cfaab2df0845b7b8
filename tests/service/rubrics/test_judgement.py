"""A threshold or a majority decides a verdict; a failure is its reason and never a number (law 1)."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import errors
from service.errors import EngineFailed, JudgementError, Unparseable
from service.rubrics.judgement import Judgement, Verdict, combine_votes, decide, failed

UNIT = st.floats(0, 1)


@given(UNIT, UNIT, UNIT, UNIT)
def test_below_the_floor_the_judge_abstains_and_else_the_threshold_decides(
    p: float, mass: float, threshold: float, floor: float
) -> None:
    found = decide(Verdict(p, mass), threshold=threshold, mass_floor=floor, source="cache")
    assert (found.p_raw, found.label_mass, found.source) == (p, mass, "cache")
    if mass < floor or mass == 0:
        assert (found.status, found.met, found.p, found.ok) == ("abstained", None, None, False)
        assert found.detail
    else:
        assert (found.status, found.met, found.p, found.ok) == ("ok", p >= threshold, p, True)
        assert found.detail is None


def test_the_threshold_and_the_floor_themselves_suffice() -> None:
    assert decide(Verdict(0.5, 0.9), threshold=0.5, mass_floor=0.9, source="judge").met is True
    assert decide(Verdict(0.0, 1e-9), threshold=0.0, mass_floor=0.0, source="judge").met is True
    assert decide(Verdict(0.5, 0.0), threshold=0.0, mass_floor=0.0, source="judge").met is None
    assert decide(Verdict(0.49, 0.9), threshold=0.5, mass_floor=0.9, source="judge").met is False
    assert decide(Verdict(0.5, 0.89), threshold=0.5, mass_floor=0.9, source="judge").met is None


CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, JudgementError)]
CLASSES.remove(JudgementError)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_failure_is_its_code_and_never_a_number(kind: type[JudgementError]) -> None:
    found = failed(kind("what to do"), "judge")
    assert found == Judgement(status=kind.code, source="judge", detail="what to do")
    assert not found.ok
    assert (found.met, found.p, found.p_raw, found.label_mass) == (None, None, None, None)
    assert failed(kind(), "rule") == Judgement(status=kind.code, source="rule")


def test_a_judgement_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        failed(Unparseable("x"), "judge").met = False  # type: ignore[misc]


def votes(*p: float) -> list[Judgement]:
    cast = [Verdict(each, 0.9, f"vote {n}") for n, each in enumerate(p)]
    return [decide(vote, threshold=0.5, mass_floor=0.5, source="judge") for vote in cast]


GONE = failed(EngineFailed("gone"), "judge")


def test_votes_are_averaged_and_have_the_explanation_of_their_majority() -> None:
    found = combine_votes(votes(0, 1, 1, 0, 1), threshold=0.5)
    assert (found.status, found.p, found.met, found.explanation) == ("ok", 0.6, True, "vote 1")
    assert combine_votes(votes(0, 1), threshold=0.5).met is True
    assert combine_votes(votes(1, 0, 0), threshold=0.5).explanation == "vote 1"
    graded = combine_votes(votes(0.9, 0.4, 0.8), threshold=0.5)
    assert graded.p == pytest.approx(0.7) and graded.p_raw == graded.p and graded.met is True
    assert graded.label_mass == pytest.approx(0.9)


def test_a_missing_vote_that_could_turn_the_decision_leaves_none() -> None:
    assert combine_votes([*votes(1, 1, 1), GONE], threshold=0.5).met is True
    assert combine_votes([*votes(0, 0, 0), GONE], threshold=0.5).met is False
    open_ = combine_votes([*votes(1, 0), GONE], threshold=0.5)
    assert (open_.status, open_.met, open_.p) == ("engine_error", None, None)
    assert combine_votes([GONE] * 3, threshold=0.5).status == "engine_error"


def test_a_vote_that_abstains_is_a_missing_one() -> None:
    [unsure] = [decide(Verdict(1.0, 0.1, "x"), threshold=0.5, mass_floor=0.5, source="judge")]
    assert combine_votes([*votes(1, 1), unsure], threshold=0.5).p == 1.0
    assert combine_votes([*votes(1, 0), unsure, unsure], threshold=0.5).status == "abstained"
