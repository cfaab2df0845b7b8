"""Guessing tokens from characters: low, learned, and only while something is rendered."""

from service.modes.modes import Question
from service.scheduling import Tenant
from service.scoring.token_estimate import Lengths
from tests.service.scoring.test_scorer import candidate


def questions(responses: int = 8, criteria: int = 12) -> list[Question]:
    found = [candidate(f"Response {n}.", criteria) for n in range(responses)]
    return [Question(one, criterion) for one in found for criterion in one.criteria]


def test_before_anything_was_rendered_nothing_is_known() -> None:
    assert Lengths().guess(questions()) == 1


def test_a_guess_is_low_and_follows_what_was_seen() -> None:
    lengths = Lengths()
    lengths.learn(questions(), 4000)
    assert lengths.guess(questions()) == 3200
    assert 1590 <= lengths.guess(questions(4)) <= 1800  # half, and a prompt of its own
    for _ in range(100):
        lengths.learn(questions(), 8000)
    assert 6390 <= lengths.guess(questions()) <= 6400


def test_what_is_being_rendered_is_known_by_flow_and_forgotten() -> None:
    lengths, a, b = Lengths(), Tenant("a"), Tenant("b")
    with lengths.render(a, 10), lengths.render(a, 5), lengths.render(b, 1):
        assert (lengths.rendering(a), lengths.rendering(b)) == (15, 1)
    assert (lengths.rendering(a), lengths.rendering(b)) == (0, 0)
