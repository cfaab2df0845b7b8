"""A criterion's opposite is true where it is not, and other words for it are other words."""

from random import Random

import pytest

from trainer_client.perturbation.wording import NEGATION, VERBS, base_form, negated, reworded, third_person

TURNED = [
    ("Mentions tea.", "Does not mention tea."),
    ("The response mentions tea.", "The response does not mention tea."),
    ("Correctly states the dose.", "Does not correctly state the dose."),
    ("Is concise.", "Is not concise."),
    ("The answer has an example.", "The answer has not an example."),
    ("Should refer to a doctor.", "Should not refer to a doctor."),
    ("Includes pain management, such as gabapentin and NSAIDs.", None),
]


@pytest.mark.parametrize(("text", "opposite"), TURNED)
def test_the_beginning_is_turned_round(text: str, opposite: str | None) -> None:
    assert negated(text) == (opposite or f"Does not include{text.removeprefix('Includes')}")
    assert negated(negated(text)) == text


@pytest.mark.parametrize(
    ("text", "opposite"),
    [
        ("Doesn't mention tea.", "Mentions tea."),
        ("Does not clearly mention tea.", "Clearly mentions tea."),
        ("Fails to mention tea.", "Mentions tea."),
        ("The response fails to mention tea.", "The response mentions tea."),
    ],
)
def test_an_absence_becomes_a_presence(text: str, opposite: str) -> None:
    assert negated(text) == opposite


@pytest.mark.parametrize(
    "text",
    [
        "Mentions tea and recommends rest.",
        "Mentions tea; lists herbs.",
        "Mentions tea. It must be hot.",
        "Neither mentions tea nor recommends it.",
        "Symptoms are listed.",
        "Tea",
        "Does not tealeaf anything.",
    ],
)
def test_what_cannot_be_turned_round_is_said_to_be_untrue(text: str) -> None:
    assert negated(text) == NEGATION.format(text)


def test_every_verb_is_turned_round_and_back() -> None:
    for verb in VERBS:
        assert base_form(third_person(verb)) == verb
        text = f"{third_person(verb).capitalize()} it."
        assert negated(text) == f"Does not {verb} it."
        assert negated(negated(text)) == text
    assert len(VERBS) > 100


def test_other_words_are_other_words_and_depend_on_the_seed_alone() -> None:
    texts = [f"{third_person(verb).capitalize()} the user to rest." for verb in sorted(VERBS)] + ["Tea.", "Is kind."]
    found = [reworded(text, Random(n)) for n, text in enumerate(texts)]
    assert found == [reworded(text, Random(n)) for n, text in enumerate(texts)]
    assert all(other != text for other, text in zip(found, texts, strict=True))
    assert reworded("The response recommends rest.", Random(0)) == "The response suggests rest."
