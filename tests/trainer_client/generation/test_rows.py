"""Rows are read from any format, with or without a rubric of their own, and pairs from what says which is preferred."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer_client.data.reader import Law
from trainer_client.errors import DataError
from trainer_client.generation.rows import Source, read_sources

USER = {"role": "user", "content": "My knee hurts."}
LAW = Law(pitfalls="met_is_bad")


def _read(tmp_path: Path, *rows: Any, pairs: bool = False, most: int | None = None) -> list[Source]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return read_sources([path], pairs=pairs, most=most, law=LAW)


def _turns(text: str) -> list[dict[str, str]]:
    return [USER, {"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "My knee hurts.", "reference": "Rest it."},
        {"question": "My knee hurts.", "reference_answer": "Rest it."},
        {"question": "My knee hurts.", "answer": "Rest it.", "level": 3},
        {"messages": [USER], "ideal_completion": "Rest it."},
        {"instruction": "My knee hurts.", "reference": "Rest it."},
        {
            "question": "My knee hurts.",
            "reference_answer": "Rest it.",
            "rubric": [{"title": "T", "description": "Pitfall Criteria: Does not rest.", "weight": -1}],
        },
        {"prompt": [USER], "rubrics": [{"criterion": "Says rest.", "points": 3, "tags": []}], "reference": "Rest it."},
        {
            "prompt": [USER],
            "rubrics": [{"criterion": "Says rest.", "points": 3, "tags": []}],
            "ideal_completions_data": {"ideal_completion": "Rest it.", "ideal_completions_group": "Group 2"},
        },
    ],
)
def test_a_prompt_and_its_reference_are_found(row: dict[str, Any], tmp_path: Path) -> None:
    (one,) = _read(tmp_path, row)
    assert (one.id, one.messages, one.reference, one.pair) == ("0", (USER,), "Rest it.", None)


def test_ids_and_sources_are_kept(tmp_path: Path) -> None:
    found = _read(tmp_path, {"id": 7, "prompt": "a", "data_source": "knees"}, {"prompt": "b"})
    assert [(one.id, one.source) for one in found] == [("7", "knees"), ("1", "")]


def test_the_first_rows_are_taken(tmp_path: Path) -> None:
    assert [one.id for one in _read(tmp_path, *({"prompt": "a"} for _ in range(5)), most=2)] == ["0", "1"]


PAIRS = [
    {"prompt": "My knee hurts.", "chosen": "Rest.", "rejected": "Run."},
    {"prompt": "My knee hurts.", "preferred": "Rest.", "rejected": "Run."},
    {"prompt": [USER], "chosen": _turns("Rest.")[1:], "rejected": _turns("Run.")[1:]},
    {"chosen": _turns("Rest."), "rejected": _turns("Run.")},
    {"chosen": json.dumps(_turns("Rest.")), "rejected": json.dumps(_turns("Run."))},
    {"prompt": "My knee hurts.", "chosen": _turns("Rest."), "rejected": _turns("Run.")},
    {"instruction": "My knee hurts.", "response_a": "Rest.", "response_b": "Run.", "winner": "A"},
    {"instruction": "My knee hurts.", "response_a": "Run.", "response_b": "Rest.", "winner": "response_b"},
]


@pytest.mark.parametrize("row", PAIRS)
def test_a_pair_is_read_in_the_order_of_the_preference(row: dict[str, Any], tmp_path: Path) -> None:
    (one,) = _read(tmp_path, row, pairs=True)
    assert one.messages == (USER,) and one.pair == ("Rest.", "Run.")


REFUSED = [
    ({"prompt": "a"}, "no pair of answers"),
    ({"prompt": "a", "response_a": "x", "response_b": "y"}, "`winner` is null"),
    ({"prompt": "a", "response_a": "x", "response_b": "y", "winner": "tie"}, "`winner` is the text 'tie'"),
    ({"prompt": "a", "chosen": " ", "rejected": "y"}, "`chosen` is the text"),
    ({"prompt": "a", "chosen": [USER], "rejected": "y"}, "`chosen` is a list of 1"),
    (
        {"chosen": _turns("x"), "rejected": [{"role": "user", "content": "b"}, _turns("y")[1]]},
        "different conversations",
    ),
    ({"chosen": "x", "rejected": "y"}, "no `prompt`; its columns are `chosen`, `rejected`"),
]


@pytest.mark.parametrize(("row", "said"), REFUSED)
def test_what_says_no_preference_is_refused(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        _read(tmp_path, row, pairs=True)
    assert said in str(refused.value) and "rows.jsonl, line 1" in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"prompt": "a", "id": "x"}, {"prompt": "b", "id": "x"}], "line 2: `id` is 'x', and"),
        ([{"prompt": _turns("x")}], "must end with a turn that is to be answered"),
        ([{"text": "a"}], "no `prompt`"),
        ([5], "not an object"),
        ([], "holds no rows"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(rows: list[Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        _read(tmp_path, *rows)
