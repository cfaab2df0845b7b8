"""The contract's own shapes: what else is accepted, and what of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.api import translate
from service.errors import InvalidRequest
from service.rubrics.aggregation import check
from trainer_client import wire
from trainer_client.formulas import Aggregation

POINTS = st.just(0.0) | st.floats(1e-6, 1e6) | st.floats(-1e6, -1e-6)
# Nothing of these shows: zero width, fillers, controls, marks, variation selectors, tags.
UNSEEN = "\u200b\u200d\u2060\ufeff\u00ad\u115f\u3164\u2800\x00\x1f\u0301\ufe0f\u034f\U000e0041\u2028\ue000\u0378"


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


@pytest.mark.parametrize("text", [" ", "\n\t ", "\u00a0\u3000", *UNSEEN, UNSEEN])
def test_a_criterion_says_something(text: str) -> None:
    for name in ("text", "criterion", "description"):
        with pytest.raises(ValidationError, match="ask nothing"):
            criterion(**{name: text}, points=1)
    assert criterion(text=" a ", points=1).text == " a "


@pytest.mark.parametrize("text", [".", "?", "\U0001f600", "\u4e2d", "1", "\u200ba", "e\u0301", "\u2713"])
def test_whatever_shows_says_something(text: str) -> None:
    assert criterion(text=text, points=1).text == text
    assert criterion(text=text, points=1, verifier={"rule": "math_verify", "gold": text}).verifier is not None
    with pytest.raises(ValidationError, match="gold` must say something"):
        criterion(text=text, points=1, verifier={"rule": "math_verify", "gold": UNSEEN})


@pytest.mark.parametrize("points", [1e-7, -1e-7, 5e-324, 1e-300, 1_000_001, -1e308, 10**30])
def test_points_are_zero_or_of_a_size_between_1e_6_and_1e6(points: float) -> None:
    with pytest.raises(ValidationError) as error:
        criterion(text="a", points=points)
    assert [one["loc"] for one in error.value.errors()] == [("points",)]
    for fine in (0, -0.0, 1e-6, -1e-6, 1e6, -1e6):
        assert criterion(text="a", points=fine).points == fine


LONG: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("text",), {"text": "a" * 32_769}),
    (("id",), {"id": "a" * 257}),
    (("tags",), {"tags": {str(n): "" for n in range(65)}}),
    (
        (
            "tags",
            "a",
        ),
        {"tags": {"a": "b" * 32_769}},
    ),
    (("tags", "a" * 257, "[key]"), {"tags": {"a" * 257: "b"}}),
    (("verifier", "regex", "pattern"), {"verifier": {"rule": "regex", "pattern": "a" * 32_769}}),
    (("verifier", "exact", "gold"), {"verifier": {"rule": "exact", "gold": "a" * 32_769}}),
    ((), {f"field {n}": n for n in range(100_000)}),
]


@pytest.mark.parametrize(("place", "fields"), LONG, ids=[".".join(place)[:20] for place, _ in LONG])
def test_what_is_longer_than_its_bound_is_one_error(place: tuple[str, ...], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as error:
        wire.Criterion.model_validate({"text": "a", "points": 1, **fields})
    assert [one["loc"] for one in error.value.errors()] == [place]


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


@pytest.mark.parametrize(
    ("word", "category"),
    [
        ("Essential", "essential"),
        ("ESSENTIAL", "essential"),
        ("Esential", "essential"),
        ("Essental", "essential"),
        ("Importnat", "important"),
        ("Imporant", "important"),
        ("Optinal", "optional"),
        ("Pitfall", "pitfall"),
        ("Pitfal", "pitfall"),
        ("Pitfalls", "pitfall"),
        ("Potential", None),
        ("Additional", None),
        ("Exponential", None),
        ("Desirable", None),
        ("", None),
    ],
)
def test_a_word_that_almost_names_a_category_names_it(word: str, category: wire.Category | None) -> None:
    assert criterion(text="a", points=1, tags={"category": word}).category == category
    assert criterion(text=f"{word} Criteria: a", points=1).category == category


@pytest.mark.parametrize("word", ["Inessential", "Nonessential", "Unessential", "Unimportant"])
def test_a_word_that_means_something_else_names_no_category(word: str) -> None:
    assert criterion(text="a", points=1, tags={"category": word}).category is None
    assert criterion(text=f"{word} Criteria: a", points=1).category is None


@pytest.mark.parametrize(
    ("text", "category", "rest"),
    [
        ("Essential Criteria: Names a.", "essential", "Names a."),
        ("essential criterion: names a", "essential", "names a"),
        ("  Pitfall Criteria - Names a.", "pitfall", "Names a."),
        ("Pitfall Criteria \u2013 Names a.", "pitfall", "Names a."),
        ("Optional  Criteria : Names a.", "optional", "Names a."),
        ("Important Critera: Names a.", "important", "Names a."),
        ("Imporant Criterias:Names a.", "important", "Names a."),
        ("Essential Criteria: First: names a.", "essential", "First: names a."),
        ("Essential Criteria: Pitfall Criteria: a", "essential", "Pitfall Criteria: a"),
        ("Essential Criteria:\n  a\n", "essential", "a\n"),
    ],
)
def test_a_prefix_is_a_category_and_no_part_of_the_text(text: str, category: wire.Category, rest: str) -> None:
    found = criterion(text=text, points=1)
    assert (found.category, found.judged_text) == (category, rest)


@pytest.mark.parametrize(
    "text",
    [
        "Names a.",
        "Essential: names a.",
        "Essential Criteria names a.",
        "Important criteria are met: names a.",
        "Names a. Essential Criteria: names b.",
        "Potential Criteria: names a.",
        "Criteria: names a.",
        "Essential Criteria:",
        "Essential Criteria:  \n",
        "Essential Criteria: \u200b",
    ],
)
def test_a_text_without_a_prefix_is_left_as_it_is(text: str) -> None:
    found = criterion(text=text, points=1)
    assert (found.category, found.judged_text) == (None, text)


@given(st.text().filter(wire.says_something), st.sampled_from(wire.CATEGORIES))
def test_nothing_is_lost_but_the_prefix(text: str, category: wire.Category) -> None:
    found = wire.Criterion(text=text, points=1)
    assert text.endswith(found.judged_text)
    assert (found.category is None) == (found.judged_text == text)
    written = wire.Criterion(text=f"{category.title()} Criteria: x{text}", points=1)
    assert (written.category, written.judged_text) == (category, f"x{text}")


def test_a_category_is_a_field_too() -> None:
    for category in wire.CATEGORIES:
        found = wire.Criterion.model_validate({"text": "a", "points": 1, "category": category})
        assert found == criterion(text="a", points=1, tags={"category": category})
    assert criterion(text="Essential Criteria: a", points=1, category="optional").category == "optional"
    assert criterion(text="a", points=1, category=None) == criterion(text="a", points=1)
    assert criterion(text="a", points=1, category="optional", tags=["category:optional"]).category == "optional"
    for wrong in ({"category": "Essential"}, {"category": 1}, {"category": "pitfall", "tags": ["category:optional"]}):
        with pytest.raises(ValidationError, match="`category`"):
            criterion(text="a", points=1, **wrong)


def test_a_tag_goes_before_the_prefix() -> None:
    named = criterion(text="Essential Criteria: a", points=1, tags={"category": "optional"})
    assert (named.category, named.judged_text) == ("optional", "a")
    unknown = criterion(text="Essential Criteria: a", points=1, tags={"category": "Desirable"})
    assert unknown.category is None


@given(POINTS)
def test_polarity_decides_the_sign_and_never_the_size(points: float) -> None:
    assert wire.Criterion(text="a", points=points).worth == points
    assert wire.Criterion(text="a", points=points, polarity="positive").worth == abs(points)
    assert wire.Criterion(text="a", points=points, polarity="negative").worth == -abs(points)


def test_zero_has_no_sign() -> None:
    signs: tuple[tuple[float, wire.Polarity | None], ...]
    signs = ((0.0, "negative"), (-0.0, "positive"), (-0.0, None), (0.0, None))
    for points, polarity in signs:
        assert str(wire.Criterion(text="a", points=points, polarity=polarity).worth) == "0.0"
    assert wire.Rubric.model_validate([{"text": "a", "points": 0.0, "polarity": "negative"}]).counted() == []


CRITERIA = st.builds(
    wire.Criterion,
    text=st.sampled_from(["a", "Essential Criteria: a", "Pitfal Criteria - a", "Desirable Criteria: a"]),
    points=st.sampled_from([0.0, 1.0, -2.0]),
    tags=st.sampled_from([{}, {"category": "important"}, {"category": "unknown"}]),
)


@given(st.lists(CRITERIA, min_size=1, max_size=5))
def test_rar_explicit_is_refused_where_the_contract_says_so(criteria: list[wire.Criterion]) -> None:
    """The contract's own check and the service's refuse the same rubrics, at the same criteria."""
    rubric = wire.Rubric(criteria=criteria)
    try:
        check(Aggregation("rar_explicit"), translate.criteria(rubric))
        refused = []
    except InvalidRequest as error:
        refused = [loc[1] for loc, _ in error.errors]
    assert rubric.lacking_category() == refused


def test_a_criterion_of_one_shape_alone_is_the_same_as_one_that_is_looked_at() -> None:
    for more in ({}, {"id": "a"}, {"polarity": "negative"}, {"id": "a", "polarity": "positive"}):
        plain = {"text": "Pitfall Criteria: Lies.", "points": -3, **more}
        looked_at = wire.Criterion.model_validate({**plain, "tags": {}, "verifier": None})
        assert wire.Criterion.model_validate(plain) == looked_at
        assert looked_at.model_dump_json() == wire.Criterion.model_validate(plain).model_dump_json()
