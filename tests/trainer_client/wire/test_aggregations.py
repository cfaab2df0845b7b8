"""An aggregation is a name, or a name with the options that are its own."""

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from service.rubrics.debias import LINEAR
from trainer_client import wire
from trainer_client.formulas import AGGREGATIONS, RAR_WEIGHTS

ITEM = {"prompt": "p", "response": "r", "rubric": [{"text": "t", "points": 1}]}
_ADAPTER: TypeAdapter[wire.Aggregation] = TypeAdapter(wire.Aggregation)


def test_names_and_weights_are_those_of_the_formulas() -> None:
    assert get_args(wire.AggregationName) == AGGREGATIONS
    assert wire.LINEAR == LINEAR
    weights = wire.RarExplicit(name="rar_explicit").category_weights
    assert weights.model_dump() == RAR_WEIGHTS


@pytest.mark.parametrize("name", get_args(wire.AggregationName))
def test_each_name_stands_alone_or_in_an_object(name: str) -> None:
    assert _ADAPTER.validate_python(name) == name
    chosen = _ADAPTER.validate_python({"name": name})
    assert wire.aggregation_name(chosen) == name
    assert _ADAPTER.validate_python(chosen) == chosen
    assert _ADAPTER.validate_json(_ADAPTER.dump_json(chosen)) == chosen


@pytest.mark.parametrize(
    ("chosen", "place", "said"),
    [
        ("median", "", "Input should be 'healthbench'"),
        ({"name": "median"}, "", "give a `name`, one of healthbench, "),
        ({"cap": 0.5}, "", "give a `name`"),
        (["mean"], "", "Input should be"),
        (None, "", "Input should be"),
        ({"name": "caps", "capp": 0.5}, "", "is not known; known: `tag`, `cap`; did you mean `cap`?"),
        ({"name": "mean", "cap": 0.5}, "", "an option of this aggregation is not known; known: none"),
        ({"name": "caps", "cap": "0.5"}, "cap", "valid number"),
        ({"name": "caps", "cap": 0}, "cap", "greater than 0"),
        ({"name": "caps", "cap": True}, "cap", "valid number"),
        ({"name": "conjunctive", "tag": ""}, "tag", "at least 1 character"),
        ({"name": "saturation", "half_saturation": float("inf")}, "half_saturation", "finite number"),
        (
            {"name": "rar_explicit", "category_weights": {"pitfal": 0.8}},
            "category_weights",
            "a category is not known; known: `essential`, `important`, `optional`, `pitfall`; did you mean `pitfall`?",
        ),
        ({"name": "rar_explicit", "category_weights": {"pitfall": -1}}, "category_weights.pitfall", "greater than"),
    ],
)
def test_a_mistake_is_refused_with_its_place_and_a_remedy(chosen: Any, place: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        wire.ScoreRequest.model_validate({"items": [ITEM], "aggregation": chosen})
    [error] = caught.value.errors()
    assert wire.without_kind(error["loc"]) == tuple(f"aggregation.{place}".rstrip(".").split("."))
    assert said in error["msg"]


@pytest.mark.parametrize("name", get_args(wire.AggregationName))
def test_only_weighted_sums_are_corrected(name: str) -> None:
    body = {"items": [ITEM], "debias": True, "aggregation": {"name": name}}
    if name in LINEAR:
        wire.ScoreRequest.model_validate(body)
        return
    with pytest.raises(ValidationError, match="weighted sum"):
        wire.ScoreRequest.model_validate(body)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("min", "min"),
        ('{"name": "min"}', "min"),
        ('{"name": "caps", "cap": 0.8}', "caps"),
        (' {"name": "caps", "cap": 0.5}', {"name": "caps", "cap": 0.5}),
        (
            '{"name": "rar_explicit", "category_weights": {"pitfall": 0.8, "essential": 1}}',
            {"name": "rar_explicit", "category_weights": {"pitfall": 0.8}},
        ),
    ],
)
def test_what_a_person_writes_is_read_without_its_defaults(text: str, found: object) -> None:
    assert wire.read_aggregation(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{min}", "no JSON object"),
        ("best", "Input should be 'healthbench'"),
        ('{"name": "caps", "cap": 2}', "cap: Input should be less than or equal to 1"),
        ('{"name": "veto", "tags": "x"}', "did you mean `tag`?"),
    ],
)
def test_what_a_person_mistypes_is_said_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        wire.read_aggregation(text)
    assert said in str(caught.value)
