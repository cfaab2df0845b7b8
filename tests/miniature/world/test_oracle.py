"""The exact oracle against answers written by hand."""

import pytest

from miniature.world.clinic import GENERIC_ITEMS, ITEMS, TOPICS, Criterion, Item, Topic, rubric
from miniature.world.oracle import met, named, reward, steps
from miniature.world.responses import Step

NECK = Topic("stiff", "neck")


def item(phrase: str) -> Item:
    return next(item for item in ITEMS if phrase in item.phrases)


def tells(phrase: str) -> Criterion:
    return Criterion("item", 1.0, item=item(phrase))


@pytest.mark.parametrize(
    ("phrase", "text", "expected"),
    [
        ("drink ginger tea", "For a stiff neck: 1. Drink ginger tea. 2. See a nurse.", True),
        ("drink ginger tea", "You should sip some ginger tea.", True),
        ("drink ginger tea", "Also have a cup of ginger tea", True),
        ("drink ginger tea", "- try to drink ginger tea\n- see a nurse", True),
        ("see a nurse", "1. Drink ginger tea 1. See a nurse", True),
        ("drink ginger tea", "Do not drink ginger tea.", False),
        ("drink ginger tea", "You should not sip some ginger tea.", False),
        ("drink ginger tea", "There is no need to have a cup of ginger tea.", False),
        ("drink ginger tea", "Never drink ginger tea. Drink warm milk.", False),
        ("drink warm milk", "Never drink ginger tea. Drink warm milk.", True),
        ("drink ginger tea", "Drink ginger see a nurse tea.", False),
        ("drink ginger tea", "I like ginger tea.", False),
        ("drink ginger tea", "", False),
        ("ask for an X-ray", "Book an X-ray.", True),
        ("do wall push-ups", "3. Spend ten minutes on wall push-ups.", True),
    ],
)
def test_tells_the_user_to(phrase: str, text: str, expected: bool) -> None:
    assert met(tells(phrase), text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("For Stiff Neck: 1. See a nurse.", True),
        ("This sounds like Stiff Neck.", True),
        ("For Stiff Knee: 1. See a nurse.", False),
        ("For Stiff Necklace.", False),
        ("You have a stiff neck.", False),
        ("", False),
    ],
)
def test_names_the_problem(text: str, expected: bool) -> None:
    assert met(Criterion("names", 1.0, topic=NECK), text) is expected


FOUR = "For a stiff neck: 1. Drink ginger tea. 2. See a nurse. 3. Do not go rowing. 4. Wear a brace. Get well soon."


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [("at_least", 4, True), ("at_least", 5, False), ("more_than", 3, True), ("more_than", 4, False)],
)
def test_counts_every_step_to_do_or_not_to_do_and_nothing_else(kind: str, number: int, expected: bool) -> None:
    criterion = Criterion("at_least" if kind == "at_least" else "more_than", 1.0, number=number)
    assert met(criterion, FOUR) is expected


def test_steps_are_read_in_order_with_their_sign() -> None:
    assert steps("Please see a nurse. Never go rowing.") == (
        Step(item("see a nurse")),
        Step(item("go rowing"), negated=True),
    )


def test_two_topics_are_both_named() -> None:
    assert named("For Stiff Neck or Itchy Knee:") == {NECK, Topic("itchy", "knee")}


def test_nothing_is_met_by_an_empty_response() -> None:
    assert not any(met(criterion, "") for topic in TOPICS for criterion in rubric(topic))


def test_reward_is_points_met_over_positive_points() -> None:
    criteria = (
        tells("see a nurse"),
        Criterion("item", 3.0, item=item("go rowing")),
        Criterion("item", -2.0, item=GENERIC_ITEMS[0]),
    )
    assert reward(criteria, "See a nurse. Ignore the pain.") == pytest.approx((1 - 2) / 4)
    assert reward(criteria, "See a nurse. Go rowing.") == pytest.approx(1.0)
