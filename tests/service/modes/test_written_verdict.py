"""A written verdict is a whole document of the schema, or none."""

import json

import pytest

from service.engine.base import Generation
from service.errors import Unparseable
from service.modes.written_verdict import read_written_verdict, verdict_schema
from service.rubrics.judgement import Verdict

GOOD = '{"explanation":"It says so.","criteria_met":true}'


def test_reasons_come_first_and_are_bounded() -> None:
    made = json.loads(verdict_schema(99))
    assert list(made["properties"]) == ["explanation", "criteria_met"]
    assert made["properties"]["explanation"]["maxLength"] == 99


def test_a_whole_document_is_a_verdict() -> None:
    assert read_written_verdict(Generation(GOOD, finished=True, tokens=9)) == Verdict(1.0, None, "It says so.")


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
        read_written_verdict(Generation(text, finished=True, tokens=9))


@pytest.mark.parametrize(
    "explanation", ["", "  ", "...", "YesYesNoYes", "Yes No\nYes", "not met", "true, TRUE", "Ja Ja"]
)
def test_labels_explain_nothing(explanation: str) -> None:
    text = json.dumps({"explanation": explanation, "criteria_met": True})
    with pytest.raises(Unparseable, match="repeated the labels"):
        read_written_verdict(Generation(text, finished=True, tokens=9), ("Ja", " Nein"))


@pytest.mark.parametrize(
    "explanation", ["Yes, it names a doctor.", "x", "Nothing is said.", "不符合", "Nope", "notmetal"]
)
def test_words_explain(explanation: str) -> None:
    text = json.dumps({"explanation": explanation, "criteria_met": False})
    assert read_written_verdict(Generation(text, finished=True, tokens=9), ("Yes", "No")).explanation == explanation


def test_every_cut_of_a_document_is_unparseable() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(Unparseable):
            read_written_verdict(Generation(GOOD[:end], finished=True, tokens=9))
    with pytest.raises(Unparseable, match="ran out"):
        read_written_verdict(Generation(GOOD, finished=False, tokens=512))
