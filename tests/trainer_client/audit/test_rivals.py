"""Answers of two policies are paired by prompt and rubric, and each once."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer_client.audit.rivals import rivals
from trainer_client.errors import DataError
from trainer_client.labels import Labels, read_labels


def _labels(folder: Path, name: str, *rows: Any) -> Labels:
    path = folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return read_labels([str(path)])


def _row(prompt: str, response: str, met: bool, id: str) -> dict[str, Any]:
    rubric = [{"id": id, "text": "Is kind.", "points": 1}]
    return {"prompt": prompt, "response": response, "rubric": rubric, "met": {id: met}}


def test_each_answer_is_paired_once_with_labels_under_the_own_ids(tmp_path: Path) -> None:
    own = _labels(
        tmp_path, "own.jsonl", _row("a", "1", True, "c"), _row("a", "2", False, "c"), _row("b", "3", True, "c")
    )
    other = _labels(
        tmp_path, "other.jsonl", _row("b", "4", False, "x"), _row("a", "5", True, "y"), _row("d", "6", True, "x")
    )
    found = rivals(own, other)
    assert {place: (one.response, one.own_labels, one.labels) for place, one in found.items()} == {
        0: ("5", {"c": True}, {"c": True}),
        2: ("4", {"c": True}, {"c": False}),
    }


def test_files_without_a_common_prompt_are_refused(tmp_path: Path) -> None:
    own, other = (
        _labels(tmp_path, "own.jsonl", _row("a", "1", True, "c")),
        _labels(tmp_path, "b.jsonl", _row("b", "1", True, "c")),
    )
    with pytest.raises(DataError, match=r"--against: no answer there has the prompt and the rubric"):
        rivals(own, other)
