"""The canonical JSON of a rubric: what is equal to the contract has one version, what is not has another."""

import json
import random
from typing import Any

import pytest
from pydantic import ValidationError

from trainer_client import wire

_RULES: list[dict[str, Any]] = [
    {"rule": "contains", "text": "x"},
    {"rule": "contains", "text": "x", "ignore_case": False},
    {"rule": "length", "max": 10},
    {"rule": "json_schema", "schema": {"const": None, "properties": {}}},
    {"rule": "regex", "pattern": "a|b", "on": "all"},
]


def drawn(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "text": f"{rng.choice(['Says', 'Sägt', 'Essential Criteria: Says', '言う'])} {k}.",
            "points": rng.choice([5, 5.0, -0.1, 0, 1e-6]),
            **rng.choice([{}, {"id": f"c{k}"}]),
            **rng.choice([{}, {"tags": {}}, {"tags": ["axis:a", "axis:b"]}, {"tags": {"verifier": "judge"}}]),
            **rng.choice([{}, {"polarity": "positive"}]),
            **rng.choice([{}, {}, {"verifier": rng.choice(_RULES)}]),
        }
        for k in range(rng.randint(1, 5))
    ]


def test_2000_random_rubrics_come_back_equal_from_their_content_with_their_version() -> None:
    rng, wrong = random.Random(3), 0
    versions: dict[str, wire.Rubric] = {}
    for _ in range(2000):
        rubric = wire.Rubric.model_validate(drawn(rng))
        content = wire.rubric_content(rubric)
        again = wire.Rubric.model_validate(wire.read_json(content))
        version = wire.version_of(content)
        wrong += again != rubric or wire.rubric_content(again) != content
        wrong += versions.setdefault(version, rubric) != rubric  # one version, one rubric
        known = wire.Rubric.model_validate({"criteria": json.loads(content)["criteria"], "ref": f"r@{version}"})
        wrong += known.criteria != rubric.criteria
    assert wrong == 0
    assert len(versions) > 1500


def test_the_content_of_a_known_rubric_is_this_and_stays_so() -> None:
    """Versions are written into files of rows: another canonical form would make all of them unknown."""
    rubric = wire.Rubric.model_validate(
        [{"text": "Says “rest”.", "points": 5, "tags": ["axis:safety"]}, {"text": "Runs.", "points": -3, "id": "b"}]
    )
    assert wire.rubric_content(rubric).decode() == (
        '{"criteria":[{"points":5.0,"tags":{"axis":"safety"},"text":"Says “rest”."},'
        '{"id":"b","points":-3.0,"text":"Runs."}]}'
    )
    assert wire.version_of(wire.rubric_content(rubric)) == "acceb5dc1ae66f89"


def test_a_reference_is_sent_without_its_criteria_and_an_inline_rubric_without_a_reference() -> None:
    rubric = wire.Rubric.model_validate([{"text": "a", "points": 1}])
    ref = f"r@{wire.version_of(wire.rubric_content(rubric))}"
    known = wire.Rubric.model_validate({"criteria": rubric.criteria, "ref": ref})
    assert known.by_ref().model_dump() == {"ref": ref}
    assert "ref" not in rubric.model_dump()
    assert known.model_copy().ref == ref
    assert known.model_copy(update={"criteria": known.criteria[:1]}).ref is None, "other criteria are sent as they are"


@pytest.mark.parametrize(
    ("rubric", "says"),
    [
        ({}, "give `criteria`"),
        ({"criteria": []}, "at least 1 item"),
        ({"ref": "a"}, "no latest"),
        ({"ref": "a@"}, "16 of the digits"),
        ({"ref": "a@0123456789ABCDEF"}, "16 of the digits"),
        ({"ref": "@0123456789abcdef"}, "the name of a `ref`"),
        ({"ref": "a@0123456789abcdef", "criteria": [{"text": "a", "points": 1}]}, "are not those"),
    ],
)
def test_what_is_no_reference_is_refused(rubric: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        wire.Rubric.model_validate(rubric)
