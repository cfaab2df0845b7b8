"""What two askings of a pair say of it, and how two responses stand in one query."""

import math
from random import Random

import pytest

from service.modes.comparison import Pair, read_preference, shown
from service.rubrics.judgement import Verdict
from service.rubrics.rubric import Candidate, Criterion, Turn

TURNS = (Turn("user", "My knee hurts."),)
RUBRIC = (Criterion("0", "Says to rest.", 2.0),)


def candidate(response: str, *trajectory: Turn) -> Candidate:
    return Candidate("0", TURNS, response, RUBRIC, trajectory=trajectory)


def test_p_of_a_and_p_of_b_sum_to_one_exactly_in_100_000_pairs() -> None:
    random = Random(0)
    extremes = [0.0, 1.0, 0.5, 1e-12, 1 - 1e-12]
    for _ in range(100_000):
        first, second = (random.choice(extremes) if random.random() < 0.1 else random.random() for _ in range(2))
        one = read_preference(Verdict(first, 0.9), Verdict(second, 0.8))
        other = read_preference(Verdict(second, 0.8), Verdict(first, 0.9))
        assert one.p + other.p == 1.0
        assert one.label_mass == other.label_mass == 0.8
        assert one.order_effect == pytest.approx(other.order_effect, abs=1e-12)
        assert 0.0 <= one.p <= 1.0


def test_the_preference_is_the_mean_of_the_log_odds() -> None:
    found = read_preference(Verdict(0.9, 1.0), Verdict(0.4, 1.0))
    by_hand = (math.log(0.9 / 0.1) + math.log(0.6 / 0.4)) / 2
    assert found.p == pytest.approx(1 / (1 + math.exp(-by_hand)))
    assert found.orders == (0.9, 0.6)
    assert found.order_effect == pytest.approx(0.3)
    assert not found.disagrees


@pytest.mark.parametrize("bias", [-5.0, -1.0, 0.0, 2.0, 8.0])
def test_what_is_added_for_the_first_place_is_gone(bias: float) -> None:
    def p(log_odds: float) -> float:
        return 1 / (1 + math.exp(-log_odds))

    found = read_preference(Verdict(p(0.7 + bias), None), Verdict(p(-0.7 + bias), None))
    assert found.p == pytest.approx(p(0.7), rel=1e-6)
    assert found.disagrees is (abs(bias) > 0.7)
    assert found.label_mass is None
    assert math.copysign(1, found.order_effect) == math.copysign(1, bias) or bias == 0.0


def test_equal_responses_are_one_half_whatever_the_order_does() -> None:
    found = read_preference(Verdict(0.97, 0.9), Verdict(0.97, 0.9))
    assert found.p == 0.5
    assert found.order_effect == pytest.approx(0.94)


def test_both_responses_stand_in_one_query_under_their_letters() -> None:
    a_first, b_first = Pair(candidate("Rest."), candidate("Run.")).queries()
    assert a_first.criterion is None
    assert a_first.candidate.trajectory == (Turn("Response A", "Rest."), Turn("Response B", "Run."))
    assert b_first.candidate.trajectory == (Turn("Response A", "Run."), Turn("Response B", "Rest."))
    assert a_first.candidate.criteria == RUBRIC


def test_a_trajectory_says_who_said_what_in_either_place() -> None:
    turns = (Turn("assistant", "I look."), Turn("tool", "12"), Turn("assistant", "Rest."))
    query = shown(candidate("Rest.", *turns), candidate(""))
    assert [turn.role for turn in query.candidate.trajectory] == [
        "Response A, assistant",
        "Response A, tool",
        "Response A, assistant",
        "Response B",
    ]
