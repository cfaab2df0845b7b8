"""Levels, choices and extracted values, as a caller writes them."""

from typing import Any

import pytest
from pydantic import ValidationError

from trainer_client import wire

THREE = [{"text": "says nothing", "value": 0}, {"text": "names it", "value": 0.5}, {"text": "explains it", "value": 1}]


def levels(*values: float) -> list[dict[str, Any]]:
    return [{"text": f"level {n}", "value": value} for n, value in enumerate(values)]


def refused(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        wire.Criterion.model_validate({"text": "x", **fields})
    [error] = caught.value.errors()
    return error["msg"]


def test_with_points_the_values_are_shares_of_them() -> None:
    criterion = wire.Criterion.model_validate({"text": "x", "points": -4, "levels": THREE})
    assert criterion.points == -4
    assert [one.value for one in criterion.options] == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("values", "points", "shares"),
    [((0, 3, 6), 6, [0, 0.5, 1]), ((0, -2, -8), -8, [0, 0.25, 1]), ((0, 0.5, 1), 1, [0, 0.5, 1])],
)
def test_without_points_the_values_are_points(values: tuple[float, ...], points: float, shares: list[float]) -> None:
    criterion = wire.Criterion.model_validate({"text": "x", "levels": levels(*values)})
    assert criterion.points == points
    assert [one.value for one in criterion.options] == shares


def test_what_was_read_is_read_again_the_same() -> None:
    rubric = wire.Rubric.model_validate([{"text": "x", "levels": levels(0, 3, 7)}])
    assert wire.Rubric.model_validate_json(rubric.model_dump_json()) == rubric
    assert wire.Rubric.model_validate_json(wire.rubric_content(rubric)) == rubric


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"points": 6, "levels": levels(0, 3, 6)}, "leave `points` out to give values in points"),
        ({"levels": levels(-1, 0, 3)}, "have both signs"),
        ({"levels": levels(0, 0)}, "one of them is not 0"),
        ({"points": 1, "levels": levels(0, 1, 0.5)}, "give options without an order as `choices`"),
        ({"points": 1, "levels": levels(0, 0.5, 0.5)}, "give options without an order as `choices`"),
        ({"points": 1, "choices": [*levels(0, 1), levels(0.5)[0]]}, "two of the `choices` have one text"),
        ({"points": 1, "levels": THREE, "choices": THREE}, "`levels` and `choices` each decide a criterion alone"),
        ({"points": 1, "levels": THREE, "verifier": {"rule": "exact", "gold": "4"}}, "`levels` and `verifier` each"),
        ({"points": 1, "levels": levels(0)}, "at least 2 items"),
        ({"points": 1, "levels": levels(*(n / 10 for n in range(11)))}, "at most 10 items"),
    ],
)
def test_a_mistake_is_said_in_one_sentence(fields: dict[str, Any], says: str) -> None:
    assert says in refused(**fields)


def test_choices_have_no_order_and_may_be_worth_the_same() -> None:
    criterion = wire.Criterion.model_validate({"text": "x", "points": 2, "choices": levels(1, 0, 1)})
    assert [one.value for one in criterion.options] == [1, 0, 1]


def extract(**fields: Any) -> dict[str, Any]:
    return {"type": "number", "instructions": "the final answer", "rule": {"rule": "math_verify", "gold": "4"}} | fields


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"type": "choice"}, "`choices` belong to type `choice`"),
        ({"choices": ["a", "b"]}, "`choices` belong to type `choice`"),
        ({"type": "choice", "choices": ["a", "a"]}, "two `choices` are the same"),
        ({"rule": {"rule": "exact", "gold": " "}}, "the right value must say something"),
        ({"rule": {"rule": "contains", "text": " "}}, "the right value must say something"),
        ({"rule": {"rule": "exact", "gold": "4", "on": "all"}}, "`on` has no meaning here"),
        ({"instructions": " "}, "it must say something"),
    ],
)
def test_an_extraction_that_cannot_be_decided_is_refused(fields: dict[str, Any], says: str) -> None:
    assert says in refused(points=1, extract=extract(**fields))


def test_a_plain_criterion_is_written_as_before() -> None:
    plain = wire.Criterion(text="x", points=1)
    assert plain.plain
    assert set(plain.model_dump()) == {"text", "points", "id", "tags", "verifier", "polarity"}
    result = wire.CriterionResult(
        id="0", status="ok", met=True, p=1, p_raw=1, label_mass=1, points=1, source="judge"
    ).model_dump()
    assert not {"level", "p_levels", "value", "extracted"} & set(result)


def autorubric(scale_type: str, *options: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "tone",
        "requirement": "Is it kind?",
        "weight": 5.0,
        "scale_type": scale_type,
        "options": [*options],
    }


def test_criteria_of_autorubric_are_read() -> None:
    options = {"label": "no", "value": 0.0}, {"label": "a bit", "value": 0.33}, {"label": "yes", "value": 1.0}
    ordinal = wire.Criterion.model_validate(autorubric("ordinal", *options))
    assert (ordinal.id, ordinal.text, ordinal.points) == ("tone", "Is it kind?", 5)
    assert ordinal.levels is not None
    assert [(one.text, one.value) for one in ordinal.levels] == [("no", 0), ("a bit", 0.33), ("yes", 1)]
    nominal = wire.Criterion.model_validate(autorubric("nominal", *options))
    assert nominal.levels is None
    assert nominal.choices == ordinal.levels
    binary = wire.Criterion.model_validate({"requirement": "Is it kind?", "weight": -2.0})
    assert (binary.text, binary.points) == ("Is it kind?", -2)


def test_criteria_of_verifiers_are_read() -> None:
    """Rows of a criteria file of its `RubricJudge`: choices are names, from the worst to the best."""
    rows = [
        {"name": "tone", "text": "How kind is it?", "weight": 2.0, "choices": ["rude", "cold", "kind"]},
        {"name": "short", "text": "Is it short?", "weight": 1.0},
        {"name": "watched", "text": "Is it in English?", "weight": 0, "choices": ["no", "yes"]},
    ]
    tone, short, watched = wire.Rubric.model_validate(rows).criteria
    assert (tone.id, tone.points, tone.choices) == ("tone", 2, None)
    assert [(one.text, one.value) for one in tone.levels or ()] == [("rude", 0), ("cold", 0.5), ("kind", 1)]
    assert (short.id, short.plain) == ("short", True)
    assert [(one.text, one.value) for one in watched.levels or ()] == [("no", 0), ("yes", 1)]
    with pytest.raises(ValidationError, match="two of the `levels` have one text"):
        wire.Rubric.model_validate([{**rows[0], "choices": ["no", "no"]}])


def test_an_option_of_autorubric_without_a_value_is_refused() -> None:
    with pytest.raises(ValidationError, match="leave it out, and a judge that cannot tell abstains"):
        wire.Criterion.model_validate(autorubric("ordinal", {"label": "NA", "na": True}))
