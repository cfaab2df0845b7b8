"""What a scaffold shows of a criterion with levels, or with a value to extract."""

from trainer_client import wire
from trainer_client.scaffold import Wording, text


def test_of_a_graded_criterion_the_best_level_is_shown_and_of_a_fault_the_worst() -> None:
    levels = [{"text": "It says none.", "value": 0}, {"text": "It says all.", "value": 1}]
    rubric = [wire.Criterion.model_validate({"text": "Names it.", "points": n, "levels": levels}) for n in (3, -2)]
    shown = text(rubric, Wording())
    assert (shown.count("Names it. It says all."), shown.count("says none")) == (2, 0)


def test_of_a_value_that_is_extracted_the_policy_is_not_shown_the_right_one() -> None:
    extract = {"type": "number", "instructions": "The final number.", "rule": {"rule": "exact", "gold": "42"}}
    rubric = [wire.Criterion.model_validate({"text": "Gives 42.", "points": 1, "extract": extract})]
    shown = text(rubric, Wording())
    assert "The final number." in shown and "42" not in shown
