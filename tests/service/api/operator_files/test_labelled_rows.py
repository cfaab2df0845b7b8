"""Labelled rows are read whole and strictly; every fault says where it is and what to write."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.api.operator_files.labelled_rows import MOST_QUESTIONS, read_labelled_rows
from service.errors import ConfigurationError

RUBRIC = [{"id": "a", "text": "Says to rest.", "points": 2}, {"id": "b", "text": "Says to run.", "points": -1}]
ITEM = {"prompt": "My knee hurts.", "response": "Rest it.", "rubric": RUBRIC}


def written(folder: Path, *rows: Any) -> Path:
    file = folder / "canaries.jsonl"
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


def test_each_label_is_a_question(tmp_path: Path) -> None:
    group = {**ITEM, "responses": ["Rest it.", "Run."]}
    del group["response"]
    rows = (
        {"item": ITEM, "met": {"a": True, "b": False}},
        "",
        {"item": group, "met": [{"a": True}, {"a": False, "b": True}]},
    )
    found = read_labelled_rows(written(tmp_path, *rows), "canaries")
    assert [(one.candidate.response, one.criterion.id, one.met) for one in found] == [
        ("Rest it.", "a", True),
        ("Rest it.", "b", False),
        ("Rest it.", "a", True),
        ("Run.", "a", False),
        ("Run.", "b", True),
    ]
    assert found[0].criterion.points == 2


def test_what_nobody_decided_or_a_rule_decides_asks_nothing(tmp_path: Path) -> None:
    rule = {"id": "c", "text": "Holds 7.", "points": 1, "verifier": {"rule": "contains", "text": "7"}}
    met = {"a": {"ann": True, "bob": True, "eve": False}, "b": [True, False, None], "c": True}
    row = {"item": {**ITEM, "rubric": [*RUBRIC, rule]}, "met": met}
    [only] = read_labelled_rows(written(tmp_path, row, {"item": ITEM, "met": {"a": None}}), "canaries")
    assert (only.criterion.id, only.met) == ("a", True)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "line 1"),
        ({"item": ITEM}, '{"item": ..., "met": '),
        ({"item": ITEM, "met": {"z": True}}, "keys are ids of criteria"),
        ({"item": ITEM, "met": {"a": 1}}, "true, false or null"),
        ({"item": ITEM, "met": {"a": "yes"}}, "true, false or null"),
        ({"item": ITEM, "met": [{"a": True}, {}]}, "labels for 2 responses, and there are 1"),
        ({"item": {**ITEM, "response": 7}, "met": {"a": True}}, "item.response"),
        ({"item": {"prompt": "x"}, "met": {}}, "item"),
        ({"item": ITEM, "met": {}}, "has no label"),
        ('{"item": {}, "item": {}, "met": {}}', "line 1"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, row: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_labelled_rows(written(tmp_path, row), "canaries")
    assert says in str(caught.value) and "`canaries`" in str(caught.value)


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_labelled_rows(tmp_path / "none.jsonl", "canaries")
    row = {"item": ITEM, "met": {"a": True}}
    with pytest.raises(ConfigurationError, match="take a part"):
        read_labelled_rows(written(tmp_path, *[row] * (MOST_QUESTIONS + 1)), "canaries")
