"""What a team hears about its criteria, and that nothing grows without end."""

import random

import pytest

from service.tenancy.divergence import MOST, Divergence


def test_the_criteria_on_which_the_two_differ_most_come_first() -> None:
    found = Divergence()
    for n in range(60):
        for k in range(n):
            found.count(f"Criterion {n}.", "differs" if k < n // 3 else "same", 0.5 if k % 2 else None)
    found.count("Nothing.", "unjudged", None)
    widest = found.widest()
    assert {one.text for one in widest[:3]} == {"Criterion 57.", "Criterion 58.", "Criterion 59."}
    assert [one.differs for one in widest] == sorted((one.differs for one in widest), reverse=True) and len(
        widest
    ) == 20
    assert widest[0].difference == pytest.approx(0.5) and widest[0].compared >= 57
    [nothing] = [one for one in found.widest(100) if one.text == "Nothing."]
    assert (nothing.compared, nothing.unjudged, nothing.difference) == (1, 1, None)


def test_of_5_000_criteria_those_are_kept_that_come_again() -> None:
    """And no more than the most, each with the beginning of its text."""
    rng, found = random.Random(0), Divergence()
    for n in range(5_000):
        found.count(f"Only once {n}: " + "x" * 30_000 if n % 250 == 0 else f"Only once {n}.", "same", 0.0)
        found.count(f"Again and again {rng.randrange(10)}.", "differs", 0.25)
    kept = found.widest(10**6)
    assert len(kept) == MOST and max(len(one.text) for one in kept) <= 200
    assert [one.text.startswith("Again") for one in kept[:11]] == [True] * 10 + [False]
    assert sum(one.compared for one in kept[:10]) == 5_000, "none of them was ever dropped"


def test_two_texts_that_begin_alike_are_two_criteria() -> None:
    found = Divergence()
    found.count("x" * 500 + "a", "same", None)
    found.count("x" * 500 + "b", "differs", None)
    assert [(one.compared, one.differs) for one in found.widest()] == [(1, 1), (1, 0)]
