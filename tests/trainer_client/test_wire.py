"""The contract's own shapes: what else is accepted, and what of it."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from trainer_client import wire


def criterion(**fields: Any) -> wire.Criterion:
    return wire.Criterion.model_validate_json(json.dumps(fields))


def test_a_criterion_of_ruscarl_and_one_of_rar_are_ours() -> None:
    ours = criterion(text="Rests.", points=5, tags={"axis": "accuracy"})
    assert criterion(criterion="Rests.", points=5, tags=["axis:accuracy"]) == ours
    rar = criterion(title="Rest", description="Essential Criteria: Rests.", weight=5)
    assert (rar.text, rar.points, rar.tags) == ("Essential Criteria: Rests.", 5.0, {"title": "Rest"})
    assert criterion(title=None, text="Rests.", points=5).tags == {}


def test_a_tag_told_twice_keeps_both_values_and_a_colon_in_a_value() -> None:
    tags = criterion(text="a", points=1, tags=["cluster:a", "cluster: b", "gold:1:2", "bare"]).tags
    assert tags == {"cluster": "a, b", "gold": "1:2", "bare": ""}


def test_ruscarls_rule_tags_mean_a_verifier() -> None:
    tags = ["verifier:rule", "function:math_verify", "parameters:1:2"]
    assert criterion(text="a", points=1, tags=tags).verifier == wire.MathVerify(rule="math_verify", gold="1:2")
    as_dict = {"verifier": "rule", "function": "choice", "parameters": "B"}
    assert criterion(text="a", points=1, tags=as_dict).verifier == wire.Choice(rule="choice", gold="B")
    with pytest.raises(ValidationError, match="names no rule"):
        criterion(text="a", points=1, tags=["verifier:rule", "function:length"])


@pytest.mark.parametrize("text", [" ", "\n\t ", "\u00a0\u3000"])
def test_a_criterion_says_something(text: str) -> None:
    for name in ("text", "criterion", "description"):
        with pytest.raises(ValidationError, match="white space alone asks the judge nothing"):
            criterion(**{name: text}, points=1)
    assert criterion(text=" a ", points=1).text == " a "


def test_who_shares_an_id_is_said_by_place() -> None:
    items = [{"id": id, "prompt": "p", "response": "r", "rubric": [{"text": "a", "points": 1}]} for id in "xyx"]
    with pytest.raises(ValidationError, match="results 0 and 2 have one id"):
        wire.ScoreRequest.model_validate_json(json.dumps({"items": items}))


def test_errors_do_not_hold_the_text() -> None:
    with pytest.raises(ValidationError) as error:
        criterion(text="SECRET", points="SECRET")
    assert "SECRET" not in str(error.value)


def test_an_answer_holds_finite_numbers_only() -> None:
    group = {"id": "g", "n": 1, "valid": 1, "mean": float("nan"), "std": 0.0, "zero_variance": True}
    with pytest.raises(ValidationError, match="finite"):
        wire.Group.model_validate(group)


def test_every_example_is_valid() -> None:
    for model in (wire.ScoreRequest, wire.Criterion):
        for example in model.model_json_schema()["examples"]:
            model.model_validate_json(json.dumps(example))
