"""A written verdict's document is a whole one of the schema, or none."""

import json

import pytest

from service.engine.base import Generation
from service.errors import Unparseable
from service.modes.written_verdict import VERDICT_KEY, document_up_to_verdict, read_explanation, verdict_schema

GOOD = '{"explanation":"It says so.","criteria_met":true}'


def test_reasons_come_first_and_are_bounded() -> None:
    made = json.loads(verdict_schema(99))
    assert list(made["properties"]) == ["explanation", "criteria_met"]
    assert made["properties"]["explanation"]["maxLength"] == 99


def test_a_whole_document_has_an_explanation() -> None:
    assert read_explanation(Generation(GOOD, finished=True, tokens=9)) == "It says so."


@pytest.mark.parametrize("explanation", ["It says so.", 'He said "no", and left.\n', "Ünïcödé 日本語 \\ {}"])
def test_the_document_up_to_its_verdict_is_the_one_that_it_was_read_from(explanation: str) -> None:
    text = document_up_to_verdict(explanation) + VERDICT_KEY + " true}"
    assert read_explanation(Generation(text, finished=True, tokens=9)) == explanation


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I refuse.",
        "{}",
        "null",
        "[true]",
        '{"explanation":"x"}',
        '{"explanation":"x","criteria_met":"true"}',
        '{"explanation":"x","criteria_met":1}',
        '{"explanation":"x","criteria_met":null}',
        '{"explanation":7,"criteria_met":true}',
        '{"explanation":"x","criteria_met":true,"more":1}',
        '{"explanation":"x","criteria_met":Tr',
        "[" * 100_000,
        "```json\n" + GOOD + "\n```",
        '{"explanation": "a", "criteria_met": true, "criteria_met": false}',
    ],
)
def test_anything_else_is_unparseable_and_never_false(text: str) -> None:
    with pytest.raises(Unparseable):
        read_explanation(Generation(text, finished=True, tokens=9))


def test_every_cut_of_a_document_is_unparseable() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(Unparseable):
            read_explanation(Generation(GOOD[:end], finished=True, tokens=9))
    with pytest.raises(Unparseable, match="ran out"):
        read_explanation(Generation(GOOD, finished=False, tokens=512))
