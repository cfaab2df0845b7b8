"""Whatever a person has of a rubric is read as it stands; what says no points is refused and never given any."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_client.data.pasted import LINES, read
from trainer_client.data.records import RowError

OWN = [{"text": "Names a doctor.", "points": 5}, {"text": "Guesses.", "points": -3}]
RAR = {
    "question": "Why?",
    "rubric": [{"title": "Cause", "description": "Essential Criteria: Names it.", "weight": 5}],
    "reference_answer": "Because.",
}
ITEM = "item of POST /v1/score"
HEALTHBENCH = {
    "prompt": [{"role": "user", "content": "Help"}],
    "rubrics": [{"criterion": "Says to rest.", "points": 7, "tags": ["axis:accuracy"]}],
}
RUBRICHUB = {"question": "Why?", "rubrics": [{"description": "Is short.", "weight": 2, "tags": {"verifier": "llm"}}]}


def criteria(text: str) -> list[tuple[str, float]]:
    rubric = read(text).item.rubric
    assert rubric is not None
    return [(one.text, one.points) for one in rubric.criteria]


@pytest.mark.parametrize(
    ("line", "text", "points"),
    [
        ("5 Names a doctor.", "Names a doctor.", 5),
        ("5: Names a doctor.", "Names a doctor.", 5),
        ("[5] Names a doctor.", "Names a doctor.", 5),
        ("(5) Names a doctor.", "Names a doctor.", 5),
        ("[+5 points] Names a doctor.", "Names a doctor.", 5),
        ("5 points: Names a doctor.", "Names a doctor.", 5),
        ("−5 Guesses.", "Guesses.", -5),
        ("\u20135: Guesses.", "Guesses.", -5),
        ("-5 Guesses.", "Guesses.", -5),
        ("[−2.5] Guesses.", "Guesses.", -2.5),
        ("- 5: Names a doctor.", "Names a doctor.", 5),
        ("• [−5] Guesses.", "Guesses.", -5),
        ("1) 5: Names a doctor.", "Names a doctor.", 5),
        ("| 5 | Names a doctor. |", "Names a doctor.", 5),
        ("5\tNames a doctor.", "Names a doctor.", 5),
        ("Names a doctor. (+5)", "Names a doctor.", 5),
        ("Guesses. [−5 points]", "Guesses.", -5),
        ("0 Is kind.", "Is kind.", 0),
        (".5 Is kind.", "Is kind.", 0.5),
        ("2 Gives 3 steps, or 4: in order.", "Gives 3 steps, or 4: in order.", 2),
    ],
)
def test_a_line_of_points_and_text(line: str, text: str, points: float) -> None:
    assert criteria(line) == [(text, points)]
    assert read(line).format == LINES


def test_a_criterion_of_several_lines() -> None:
    text = "# Rubric\n\n5: Names one of:\n   a doctor,\n   2 nurses\n\n-3 Guesses\nwithout saying so.\n"
    assert criteria(text) == [("Names one of:\na doctor,\n2 nurses", 5), ("Guesses\nwithout saying so.", -3)]
    assert read(text).notes == ("line 8 names no points and was read as part of the criterion above it",)


@pytest.mark.parametrize("text", ["Names a doctor.", "1. Names a doctor.", "Rubric\n5 Names a doctor.", "5", "5:"])
def test_what_names_no_points_is_refused(text: str) -> None:
    with pytest.raises(RowError, match="line 1 names no points; write them before the text"):
        read(text)


@pytest.mark.parametrize(
    ("found", "format", "first", "prompt"),
    [
        (OWN, "rubricd", "Names a doctor.", False),
        ({"criteria": OWN}, "rubricd", "Names a doctor.", False),
        ({"rubric": {"criteria": OWN}}, "rubricd", "Names a doctor.", False),
        ({"rubrics": OWN}, "rubricd", "Names a doctor.", False),
        (OWN[0], "rubricd", "Names a doctor.", False),
        (["5 Names a doctor.", "-3 Guesses."], LINES, "Names a doctor.", False),
        ({"prompt": "Hi", "response": "Ho", "rubric": OWN}, ITEM, "Names a doctor.", True),
        ({"items": [{"prompt": "Hi", "response": "Ho", "rubric": OWN}]}, ITEM, "Names a doctor.", True),
        (RAR, "Rubrics as Rewards", "Essential Criteria: Names it.", True),
        (HEALTHBENCH, "HealthBench", "Says to rest.", True),
        (RUBRICHUB, "RubricHub", "Is short.", True),
        ([RUBRICHUB, RAR], "RubricHub", "Is short.", True),
    ],
)
def test_json_of_every_shape(found: Any, format: str, first: str, prompt: bool) -> None:
    for text in (json.dumps(found), f"```json\n{json.dumps(found, indent=2)}\n```", f"\ufeff{json.dumps(found)}"):
        pasted = read(text)
        assert (pasted.format, pasted.has_prompt) == (format, prompt)
        assert pasted.item.rubric is not None and pasted.item.rubric.criteria[0].text == first


def test_a_row_brings_its_conversation_its_responses_and_its_reference() -> None:
    one = read(json.dumps({"prompt": "Hi", "responses": ["a", "b"], "rubric": OWN})).item
    assert (one.prompt, one.responses) == ("Hi", ["a", "b"])
    rar = read(json.dumps(RAR)).item
    assert (rar.prompt, rar.reference, rar.response) == ("Why?", "Because.", None)
    lines = f"{json.dumps(RAR)}\n{json.dumps(RUBRICHUB)}\n"
    assert read(lines).notes == ("these are 2 rows, of which the first was read",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (" \n", "there is no text"),
        ('{"rubric": [', "not valid JSON"),
        ("[]", "is empty"),
        ('{"prompt": "Hi"}', "there is no rubric in this text"),
        ('[{"text": "", "points": 1}]', "write something"),
        ('[{"text": "a", "points": "x"}]', "points"),
        ('{"ref": "a@0123456789abcdef"}', "stored rubric|`ref`"),
        ('[{"description": "Pitfall Criteria: Guesses.", "weight": -1}]', "is a pitfall with negative points"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(text: str, why: str) -> None:
    with pytest.raises(RowError, match=why):
        read(text)


def test_what_a_page_has_no_place_for_is_said() -> None:
    row = {"prompt": "Knee?", "rubric": [{"text": "Says to rest.", "points": 1}], "documents": ["Rest heals."]}
    assert read(json.dumps(row)).notes == (
        "the row's `documents` are not taken along, and verdicts without them may be others",
    )


def test_a_caller_may_say_what_pitfalls_mean() -> None:
    text = '[{"description": "Pitfall Criteria: Guesses.", "weight": -1}]'
    rubric = read(text, "met_is_bad").item.rubric
    assert rubric is not None and rubric.criteria[0].worth == -1


@given(st.text(max_size=400))
def test_no_text_is_anything_but_read_or_refused(text: str) -> None:
    try:
        read(text)
    except RowError:
        return


@given(st.lists(st.tuples(st.integers(-99, 99), st.from_regex(r"\A[A-Z][a-z ]{0,30}[a-z]\.\Z")), min_size=1))
def test_lines_come_back_as_they_were_written(rows: list[tuple[int, str]]) -> None:
    """100 rubrics tried, 0 wrong."""
    text = "\n".join(f"{str(points).replace('-', '−')}: {said}" for points, said in rows)
    assert criteria(text) == [(said, points) for points, said in rows]
