"""Drafts are read strictly: the right ones become criteria, and each fault is named at its place."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from tests.trainer_client.generation.drafts import categories, points
from trainer_client import wire
from trainer_client.generation import shapes, templates
from trainer_client.generation.shapes import NotARubric, form_of, schema_of

GUIDELINE = "Always ask about fever.\nNever advise surgery\nbefore an X-ray."


def _read(text: str, name: str) -> list[wire.Criterion]:
    template = templates.load(name)
    return shapes.read(text, template, form_of(template), GUIDELINE)


def test_rar_becomes_criteria_with_category_title_and_sign() -> None:
    criteria = _read(categories(), "rar-medicine")
    assert len(criteria) == 8
    assert criteria[0] == wire.Criterion(
        text="Mentions rest for the knee.",
        points=5,
        polarity="positive",
        tags={"category": "essential", "title": "About rest"},
    )
    assert criteria[-1].category == "pitfall" and criteria[-1].worth == -2 and not criteria[-1].is_unsigned_pitfall


def test_ruscarl_becomes_criteria_with_points() -> None:
    criteria = _read(points({"points": -10}, {"points": 10}), "ruscarl")
    assert [one.points for one in criteria[:3]] == [-10, 10, 3]


def test_rules_become_criteria_as_the_reader_of_openrubrics_has_them() -> None:
    criteria = _read(
        json.dumps({"hard_rules": ["Is a list."], "principles": ["Explains why.", "Is kind."]}), "contrastive"
    )
    assert [(one.text, one.points, one.tags) for one in criteria] == [
        ("Is a list.", 1, {"kind": "hard rule"}),
        ("Explains why.", 1, {"kind": "principle"}),
        ("Is kind.", 1, {"kind": "principle"}),
    ]


def _quoted(*quotes: str) -> str:
    return json.dumps({"rubrics": [{"criterion": f"Does {quote}", "points": 2, "quote": quote} for quote in quotes]})


def test_a_quote_of_the_guideline_stays_with_its_criterion() -> None:
    quotes = ("Always ask about fever.", "Never advise surgery before an X-ray.", "fever")
    assert [one.tags["quote"] for one in _read(_quoted(*quotes), "guideline")] == list(quotes)


def test_a_quote_that_the_guideline_does_not_have_is_a_fault() -> None:
    with pytest.raises(NotARubric) as refused:
        _read(_quoted("Always ask about fever.", "Always advise rest.", " "), "guideline")
    assert [fault.partition(":")[0] for fault in refused.value.faults] == ["rubrics.1.quote", "rubrics.2.quote"]


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "```\n{}\n```  \n", "<think>\nHm. {{\n</think>\n\n{}"])
def test_a_draft_may_stand_in_one_fence_or_after_reasoning(around: str) -> None:
    assert len(_read(around.replace("{{", "{").replace("{}", points()), "ruscarl")) == 8


FAULTY = {
    "cut off": (points()[:-20], "not one JSON object"),
    "words around": (f"Here it is: {points()}", "not one JSON object"),
    "two documents": (f"{points()}\n{points()}", "not one JSON object"),
    "two fences": (f"```json\n{points()}\n```\n```json\n{points()}\n```", "not one JSON object"),
    "a key twice": ('{"rubrics": [], "rubrics": []}', "not one JSON object"),
    "Python's words": (points().replace('"points": 3', '"points": True'), "not one JSON object"),
    "a refusal": ("I cannot help with that.", "not one JSON object"),
    "nothing": ("", "not one JSON object"),
    "a list": (json.dumps(json.loads(points())["rubrics"]), "the answer: input should be"),
    "too few": (json.dumps({"rubrics": json.loads(points())["rubrics"][:4]}), "rubrics: list should have at least 5"),
    "too many": (json.dumps({"rubrics": json.loads(points())["rubrics"] * 2}), "rubrics: list should have at most 15"),
    "another field": (points({"why": "x"}), "rubrics.0.why: extra"),
    "a field missing": (points().replace('"points": 3', '"point": 3', 1), "rubrics.0.points: field required"),
    "points as text": (points({"points": "3"}), "rubrics.0.points: input should be a valid integer"),
    "a fraction": (points({"points": 3.5}), "rubrics.0.points"),
    "no points": (points({"points": 0}), "rubrics.0.points: 0; points are"),
    "too many points": (points({}, {"points": 11}), "rubrics.1.points: input should be less than or equal to 10"),
    "no text": (points({"criterion": " "}), "rubrics.0"),
    "faults alone": (points().replace('"points": 3', '"points": -3'), "no criterion is wanted"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_faulty_draft_is_refused_with_its_place(case: str) -> None:
    text, said = FAULTY[case]
    with pytest.raises(NotARubric) as refused:
        _read(text, "ruscarl")
    assert said in refused.value.faults[0], refused.value.faults


def test_an_example_of_the_template_is_no_criterion() -> None:
    ruscarl = templates.load("ruscarl")
    example = '{"rubrics": [{"criterion": "Mentions ice for the knee.", "points": 3}]}'
    template = replace(ruscarl, texts={**ruscarl.texts, "user": f"{ruscarl.texts['user']} Example: {example}"})
    with pytest.raises(NotARubric) as refused:
        shapes.read(points(), template, form_of(template), None)
    assert refused.value.faults == ("rubrics.1: it is the example of the task; write about this conversation",)


def test_weights_of_rar_are_those_of_the_category() -> None:
    changes: tuple[dict[str, Any], ...] = (
        {"weight": 4},
        {"category": "important", "weight": 5},
        {"category": "optional", "weight": 3},
        {"category": "pitfall", "weight": 1},
        {"category": "Essential", "weight": 5},
    )
    said = []
    for change in changes:
        with pytest.raises(NotARubric) as refused:
            _read(categories(change), "rar-medicine")
        said.append(refused.value.faults[0])
    assert said[:4] == [
        "rubric.0.weight: 4, and essential has 5",
        "rubric.0.weight: 5, and important has 3 to 4",
        "rubric.0.weight: 3, and optional has 1 to 2",
        "rubric.0.weight: 1, and pitfall has -2 to -1",
    ]
    assert said[4].startswith("rubric.0.category: input should be 'essential'")
    assert _read(categories({"weight": 4}), "rar-science")[0].points == 4


def test_both_lists_of_rules_together_have_the_number_that_was_asked_for() -> None:
    for rules in ([], ["one"], [f"rule {n}" for n in range(16)]):
        with pytest.raises(NotARubric, match=r"2 to 15|at most 15"):
            _read(json.dumps({"hard_rules": [], "principles": rules}), "contrastive")


def test_a_thousand_damaged_drafts_are_read_whole_or_not_at_all() -> None:
    """Cut, changed or doubled at a random place: what is read has the form, and nothing else happens."""
    rng = random.Random(3)
    text, whole, read = categories(), 0, 0
    template = templates.load("rar-medicine")
    form = form_of(template)
    for _ in range(1000):
        place = rng.randrange(len(text))
        damaged = rng.choice(
            [text[:place], text[:place] + text[place + 1 :], text[:place] + rng.choice('"{}[],:0-x') + text[place:]]
        )
        try:
            criteria = shapes.read(damaged, template, form, None)
        except NotARubric as error:
            whole += all(error.faults)
            continue
        read += 1
        assert 7 <= len(criteria) <= 20
        assert all(one.category and one.worth in (5, 4, 3, 2, 1, -1, -2) for one in criteria)
    assert whole + read == 1000 and whole > 500


def test_schemas_are_closed_and_name_no_titles_of_pydantics() -> None:
    for name in templates.names():
        schema = schema_of(form_of(templates.load(name)))
        assert schema["additionalProperties"] is False and "title" not in schema
        for inner in schema.get("$defs", {}).values():
            assert inner["additionalProperties"] is False and set(inner["required"]) == set(inner["properties"])
    rar = schema_of(form_of(templates.load("rar-medicine")))
    assert set(rar["$defs"]["_Categorised"]["properties"]) == {"title", "category", "description", "weight"}
    assert (rar["properties"]["rubric"]["minItems"], rar["properties"]["rubric"]["maxItems"]) == (7, 20)
