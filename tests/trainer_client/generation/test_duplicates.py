"""Near repetitions are merged, and what differs in a number, a negation, a sign or a word of content is not."""

import pytest

from trainer_client import wire
from trainer_client.generation.duplicates import THRESHOLD, merge, similarity


def _one(text: str, points: float = 3) -> wire.Criterion:
    return wire.Criterion(text=text, points=points)


SAME = [
    ("Mentions that the knee needs rest.", "States that the knee needs resting."),
    ("Recommends rest and ice.", "Advises ice and rest."),
    ("Recommends ice for the swelling.", "Advises using ice for swelling"),
    ("The response explains how insulin lowers glucose.", "Describes the way that insulin lowers the glucose."),
    ("Asks the user about fever.", "Asks about any fever."),
    ("Warns of bleeding with warfarin.", "Explicitly warns the user of bleeding with warfarin!"),
    ("Names the first law of thermodynamics.", "The answer states the first law of thermodynamics."),
    ("Gives the result 42 m/s.", "States the result as 42 m/s."),
    ("Does not recommend antibiotics.", "The response never recommends antibiotics."),
    ("Tells the patient to call emergency services.", "Directs the person to call the emergency services."),
    ("Is written in French.", "Writes in French"),
    ("Notes that rest helps.", "Says that rest helps."),
    ("Mentions physiotherapy exercises at home.", "Recommends physiotherapy exercises to do at home."),
    ("Explains that the reaction is exothermic.", "Clearly says the reaction is exothermic."),
]
APART = [
    (
        "Recommends ibuprofen for the pain in the knee at night.",
        "Recommends paracetamol for the pain in the knee at night.",
    ),
    ("Says to come back within 24 hours.", "Says to come back within 48 hours."),
    ("Recommends antibiotics.", "Does not recommend antibiotics."),
    ("Mentions rest.", "Mentions ice."),
    (
        "Explains how to perform the Heimlich maneuver.",
        "Explains how to perform the auto Heimlich maneuver when alone.",
    ),
    ("Advises using ice in the first 48 hours.", "Advises using heat after the first 48 hours."),
    ("States that the dose is 5 mg.", "States that the dose is 0.5 mg."),
    ("Mentions the side effects of minoxidil.", "Mentions the side effects of finasteride."),
    ("Warns of bleeding.", "Warns of bleeding and infection with every wound of the hand."),
    ("States that oxygen increases.", "States that oxygen decreases."),
    ("Asks about left arm pain.", "Asks about right arm pain."),
    ("Names Newton's second law.", "Names Newton's third law."),
    ("Explains that insulin lowers glucagon.", "Explains that glucagon lowers insulin."),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_texts_that_say_the_same_are_alike(first: str, second: str) -> None:
    assert similarity(_one(first), _one(second)) >= THRESHOLD


@pytest.mark.parametrize(("first", "second"), APART)
def test_texts_that_differ_stay_apart(first: str, second: str) -> None:
    assert similarity(_one(first), _one(second)) < THRESHOLD


def test_the_sign_and_the_rule_keep_apart() -> None:
    text = "Mentions rest."
    assert similarity(_one(text), _one(text, -3)) == 0.0
    verifier = {"rule": "contains", "text": "rest"}
    rule = wire.Criterion.model_validate({"text": text, "points": 3, "verifier": verifier})
    assert similarity(_one(text), rule) == 0.0


def test_the_heavier_one_stays_as_it_is_and_the_first_of_equals() -> None:
    light, heavy, again = _one("Mentions rest.", 2), _one("States the rest.", 5), _one("Says rest.", 5)
    kept, merged = merge([light, _one("Mentions ice."), heavy, again])
    assert [one.text for one in kept] == ["States the rest.", "Mentions ice."]
    assert [(one.left_out, one.kept) for one in merged] == [(light, heavy), (again, heavy)]


def test_texts_of_common_words_alone_are_the_same_only_if_equal() -> None:
    assert similarity(_one("Is it?"), _one("Is it?")) == 1.0
    assert similarity(_one("Is it?"), _one("Has it?")) == 0.0
