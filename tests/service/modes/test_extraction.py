"""A value is copied out of the response, or it is none."""

import json
from typing import Any

import pytest

from service.engine.base import Generation, LabelLogprobs
from service.errors import Unparseable
from service.modes.extraction import Extracted, Said, read_value, states, states_nothing, value_schema
from service.rubrics.rubric import Candidate, Extraction, Rule, Turn

RULE = Rule("exact", {"gold": "42"})


def candidate(response: str) -> Candidate:
    return Candidate("0", (Turn("user", "How many?"),), response, ())


def read(kind: Any, value: Any, response: str, choices: tuple[str, ...] = ()) -> str | None:
    written = Generation(json.dumps({"value": value}), finished=True, tokens=3)
    return read_value(written, Extraction(kind, "the answer", RULE, choices), candidate(response)).value


@pytest.mark.parametrize(
    ("kind", "value", "response", "found"),
    [
        ("integer", 42, "The answer is **42**.", "42"),
        ("integer", 1200, "It costs 1,200 dollars.", "1200"),
        ("number", 3.5, "about 3.50 m", "3.5"),
        ("number", -3, "x = -3", "-3"),
        ("number", 0.5, "One gets 1/2.", "0.5"),
        ("number", 0.25, r"So $\frac{1}{4}$.", "0.25"),
        ("string", "New York", "It is in *new  york*.", "New York"),
        ("string", "北京", "答案是北京。", "北京"),
        ("string", "+", "The sign is +.", "+"),
        ("date", "1969-07-20", "on July 20, 1969", "1969-07-20"),
        ("choice", "B", "The answer is B.", "B"),
        ("list", ["iron", "gold"], "Gold and iron.", "iron, gold"),
        ("list", [], "Gold and iron.", None),
        ("string", None, "I do not know.", None),
    ],
)
def test_a_value_that_the_response_states_is_read(kind: str, value: Any, response: str, found: str | None) -> None:
    assert read(kind, value, response, ("A", "B") if kind == "choice" else ()) == found


@pytest.mark.parametrize(
    ("kind", "value", "response"),
    [
        ("integer", 42, "Thought process:"),
        ("integer", 42, "Solution"),
        ("integer", 42, "The answer is 420."),
        ("integer", 42.5, "42.5"),
        ("string", "42", "It is 420."),
        ("string", "Paris", "Solution"),
        ("choice", "B", "Solution: a bad one"),
        ("choice", "A", "a solution"),
        ("choice", "C", "C"),
        ("date", "1969-07-20", "in July 1969"),
        ("list", ["iron", "lead"], "Gold and iron."),
        ("string", " ", "x"),
        ("number", "42", "42"),
        ("string", 42, "42"),
        ("integer", True, "1"),
    ],
)
def test_what_the_response_does_not_state_is_no_value(kind: str, value: Any, response: str) -> None:
    """Master keys with the right value from the judge's own head, among others."""
    with pytest.raises(Unparseable):
        read(kind, value, response, ("A", "B") if kind == "choice" else ())


@pytest.mark.parametrize(
    "result",
    [
        Generation('{"value": 4', finished=True, tokens=2),
        Generation('{"value": 42}', finished=False, tokens=2),
        Generation("[]", finished=True, tokens=2),
        Generation('{"value": 42, "more": 1}', finished=True, tokens=2),
        Generation('{"value": 1e999999999}', finished=True, tokens=2),
        Generation('{"value": NaN}', finished=True, tokens=2),
        LabelLogprobs((-1.0, -1.0)),
    ],
)
def test_anything_but_a_whole_document_is_unparseable(result: Any) -> None:
    with pytest.raises(Unparseable):
        read_value(result, Extraction("number", "the answer", RULE), candidate("42"))


@pytest.mark.parametrize(("response", "nothing"), [("", True), (" \n", True), (":", True), ("…!", True), ("7", False)])
def test_a_response_without_letter_or_digit_states_nothing(response: str, nothing: bool) -> None:
    assert states_nothing(candidate(response)) is nothing


def test_of_a_trajectory_what_a_tool_says_is_not_stated() -> None:
    turns = (Turn("assistant", "Let me look."), Turn("tool", "42"), Turn("assistant", "Done."))
    said = Candidate("0", (), "Done.", (), trajectory=turns)
    written = Generation('{"value": 42}', finished=True, tokens=3)
    with pytest.raises(Unparseable):
        read_value(written, Extraction("integer", "the answer", RULE), said)


def test_a_schema_allows_no_value_at_all() -> None:
    for kind in ("number", "integer", "string", "date", "list"):
        schema = json.loads(value_schema(kind, ()))
        assert {"type": "null"} in schema["properties"]["value"]["anyOf"]
    assert json.loads(value_schema("choice", ("a", "b")))["properties"]["value"]["anyOf"][0] == {"enum": ["a", "b"]}


def test_a_long_text_is_searched_in_linear_time() -> None:
    assert not states(Said("1," * 200_000), "integer", "42")
    assert not states(Said("a " * 200_000), "string", "a b")
    said = Said("a " * 200_000)
    assert said.words is said.words, "they are made once, and not for each of the 32 values of a list"
    assert Extracted(None).label_mass is None
