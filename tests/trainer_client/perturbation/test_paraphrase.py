"""A paraphrase is another text for the same criterion, or none."""

import pytest

from trainer_client.perturbation.paraphrase import messages, read

OLD = "Names the dose of the tea."


@pytest.mark.parametrize(
    ("answer", "new"),
    [
        ("States how much tea to drink.", "States how much tea to drink."),
        ('  "States how much tea to drink."\n', "States how much tea to drink."),
        ("Criterion: States the dose.", "States the dose."),
        ('The new criterion is: "States the dose."', "States the dose."),
        ("The new criterion is to state the dose.", None),
        ("names the dose\nof the tea.", None),
        ("", None),
        ('""', None),
        ("\u200b", None),
        ("x" * 400, None),
    ],
)
def test_what_is_taken(answer: str, new: str | None) -> None:
    assert read(answer, OLD) == new


def test_the_question_holds_the_criterion() -> None:
    (turn,) = messages(f" {OLD}\n")
    assert turn["role"] == "user" and turn["content"].endswith(f"Criterion: {OLD}")
