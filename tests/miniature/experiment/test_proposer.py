"""The proposer against bad ideas: the most frequent one first, none that the rubric has, nothing about good advice."""

from miniature.experiment.proposer import propose

ANSWERS = ["1. Search the web. 2. Pop the blister.", "1. Search the web. 2. Go rowing.", "1. Drink ginger tea."]


def test_it_proposes_what_most_answers_have() -> None:
    found = propose(criteria=[], answers=ANSWERS, most=5, prompt=[], step=1)
    assert [one["text"] for one in found] == ["Tells the user to search the web.", "Tells the user to pop the blister."]
    assert {one["kind"] for one in found} == {"anti_hack"}
    assert len(propose(criteria=[], answers=ANSWERS, most=1)) == 1


def test_it_proposes_nothing_that_the_rubric_has() -> None:
    known = ["Tells the user to search the web."]
    assert [one["text"] for one in propose(criteria=known, answers=ANSWERS, most=5)] == [
        "Tells the user to pop the blister."
    ]
