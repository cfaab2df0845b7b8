"""Pairs from rows of every form, and what is said of rows that are none."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer_client.data.reader import LENIENT
from trainer_client.errors import DataError
from trainer_client.preferences.pairs import PreferencePair
from trainer_client.preferences.reading import read_pairs

RUBRIC = [{"text": "Says to rest.", "points": 5}]


def read(tmp_path: Path, *rows: dict[str, Any]) -> list[PreferencePair]:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return read_pairs([file], LENIENT)


def test_trls_rows_with_and_without_rubric_and_prompt(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Knee?"}]
    whole = {
        name: [*turns, {"role": "assistant", "content": text}] for name, text in (("chosen", "g"), ("rejected", "b"))
    }
    plain = {"prompt": "Knee?", "chosen": "g", "rejected": ""}
    one, two, three = read(tmp_path, {**plain, "rubric": RUBRIC, "reference": "r", "id": "x"}, plain, whole)
    assert (one.id, one.group, one.kind, one.chosen, one.rejected) == ("x", "x", "given", "g", "")
    assert one.rubric is not None and one.reference == "r"
    assert (two.id, two.rubric, two.reference) == ("1", None, None)
    assert not isinstance(three.prompt, str) and [turn.content for turn in three.prompt] == ["Knee?"]


def test_several_answers_with_scores_are_all_pairs_that_differ(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        {"prompt": "p", "responses": ["a", "b", "c"], "scores": [0.2, 0.9, 0.2], "rubric": RUBRIC, "id": "h"},
    )
    assert [(one.id, one.chosen, one.rejected, one.group) for one in rows] == [
        ("h/1-0", "b", "a", "h"),
        ("h/1-2", "b", "c", "h"),
    ]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "p", "response": "r"}, "no pair of answers; write `chosen` and `rejected`"),
        ({"chosen": "a", "rejected": "b"}, "no `prompt`"),
        ({"prompt": "p", "responses": ["a", "b"], "scores": [1]}, "one number for each of the 2 responses"),
        ({"prompt": "p", "responses": ["a", "b"], "scores": [1, True]}, "`scores` is"),
        ({"prompt": "p", "responses": ["a", "b"], "scores": [1, 1]}, "holds no pair"),
    ],
)
def test_what_is_no_pair_is_named_with_its_place(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told) as raised:
        read(tmp_path, row)
    assert "pairs.jsonl" in str(raised.value)


def test_a_judge_sees_the_rubric_and_the_reference_where_they_are_to_be_shown(tmp_path: Path) -> None:
    [one] = read(tmp_path, {"prompt": "p", "chosen": "g", "rejected": "b", "rubric": RUBRIC, "reference": "r"})
    bare, both = one.item("g", rubric=False, reference=False), one.both(rubric=True, reference=True)
    assert (bare.rubric, bare.reference, bare.response) == (None, None, "g")
    assert (both.a, both.b, both.reference, both.rubric) == ("g", "b", "r", one.rubric)
