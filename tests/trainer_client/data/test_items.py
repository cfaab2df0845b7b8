import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer_client import wire
from trainer_client.data.items import read_items
from trainer_client.data.reader import Law
from trainer_client.errors import DataError

Json = dict[str, Any]

ITEM: Json = {"prompt": "Hello?", "response": "Hi.", "rubric": [{"text": "Is kind.", "points": 5}]}
VERL: Json = {
    "prompt": [{"role": "user", "content": "My knee hurts."}],
    "data_source": "healthbench",
    "reward_model": {
        "ground_truth": "",
        "rubrics": [
            {"criterion": "Tells the user to rest.", "points": 7, "tags": ["level:example", "axis:accuracy"]},
            {"criterion": "Recommends running.", "points": -4, "tags": []},
        ],
        "style": "rubric",
    },
    "response": "Rest.",
}
RAR: Json = {
    "question": "What is 2 + 2?",
    "reference_answer": "4",
    "question_source": "school",
    "rubric": [{"title": "Answer", "description": "Essential Criteria: States that the sum is 4.", "weight": 5}],
    "response": "4",
}


def lines_file(folder: Path, *rows: Any, name: str = "in.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def parquet_file(folder: Path, *rows: Json) -> Path:
    path = folder / "in.parquet"
    columns = list(dict.fromkeys(name for row in rows for name in row))
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in columns}), path)
    return path


def _slip(path: Path, **more: Any) -> str:
    with pytest.raises(DataError) as caught:
        list(read_items(path, **more))
    assert str(path) in str(caught.value)
    return str(caught.value).removeprefix(str(path))


def test_items_of_the_contract(tmp_path: Path) -> None:
    grouped = {**ITEM, "id": "g", "responses": ["a", "b"]}
    del grouped["response"]
    items = list(
        read_items(lines_file(tmp_path, ITEM, "", grouped, {"item": ITEM, "note": 1}, {**ITEM, "reference": None}))
    )
    assert [item.response for item in items] == ["Hi.", None, "Hi.", "Hi."]
    assert items[1].responses == ["a", "b"]


def test_verl_rows_from_parquet(tmp_path: Path) -> None:
    bare = {key: VERL[key] for key in ("prompt", "data_source", "response")}
    only_extra = {**bare, "extra_info": {"prompt": VERL["prompt"], "reward_model": VERL["reward_model"]}}
    first, second = read_items(parquet_file(tmp_path, VERL, only_extra))
    assert first == second
    assert first.prompt == [wire.Message(role="user", content="My knee hurts.")]
    assert first.rubric is not None
    assert [(c.text, c.points) for c in first.rubric.criteria] == [
        ("Tells the user to rest.", 7.0),
        ("Recommends running.", -4.0),
    ]
    assert first.rubric.criteria[0].tags == {"level": "example", "axis": "accuracy"}
    assert first.reference is None


def test_the_same_rows_as_lines_are_the_same_items(tmp_path: Path) -> None:
    for row in (VERL, RAR):
        assert list(read_items(lines_file(tmp_path, row))) == list(read_items(parquet_file(tmp_path, row)))


def test_rar_rows(tmp_path: Path) -> None:
    (item,) = read_items(parquet_file(tmp_path, RAR))
    assert (item.prompt, item.reference, item.response) == ("What is 2 + 2?", "4", "4")
    assert item.rubric is not None
    (criterion,) = item.rubric.criteria
    assert (criterion.text, criterion.points) == ("Essential Criteria: States that the sum is 4.", 5.0)
    assert criterion.tags == {"category": "essential", "title": "Answer"}


def test_an_empty_reference_is_none(tmp_path: Path) -> None:
    (item,) = read_items(lines_file(tmp_path, {**RAR, "reference_answer": ""}))
    assert item.reference is None


def test_a_rule_in_tags_is_a_rule(tmp_path: Path) -> None:
    tags = ["verifier:rule", "function:math_verify", "parameters:\\frac{1}{2}"]
    model = {"rubrics": [{"criterion": "The answer is right.", "points": 1, "tags": tags}], "ground_truth": "1/2"}
    (item,) = read_items(parquet_file(tmp_path, {**VERL, "reward_model": model}))
    assert item.rubric is not None and item.reference == "1/2"
    assert item.rubric.criteria[0].verifier == wire.MathVerify(rule="math_verify", gold="\\frac{1}{2}")


@pytest.mark.parametrize("row", [ITEM, VERL, RAR], ids=["item", "verl", "rar"])
def test_responses_may_stand_in_another_column(tmp_path: Path, row: Json) -> None:
    moved = {**row, "mine": ["a", "b"]}
    for path in (lines_file(tmp_path, moved), parquet_file(tmp_path, moved)):
        (item,) = read_items(path, law=Law(response_column="mine"))
        assert (item.response, item.responses) == (None, ["a", "b"])


def test_a_column_of_bytes_is_no_obstacle(tmp_path: Path) -> None:
    (item,) = read_items(parquet_file(tmp_path, {**ITEM, "picture": b"\xff\xfe"}))
    assert (item.response, item.metadata) == ("Hi.", {"picture": "2 bytes"})


def test_nulls_in_parquet_are_absent_fields(tmp_path: Path) -> None:
    other = {**ITEM, "id": "b", "rubric": [{"text": "t", "points": 1.5, "id": "c", "tags": {"axis": "x"}}]}
    first, _ = read_items(parquet_file(tmp_path, ITEM, other))
    assert first.id is None and first.rubric is not None and first.rubric.criteria[0].tags == {}


def test_a_null_that_a_rule_needs_is_kept_in_json(tmp_path: Path) -> None:
    rule = {"rule": "json_schema", "schema": {"const": None}}
    (item,) = read_items(lines_file(tmp_path, {**ITEM, "rubric": [{"text": "t", "points": 1, "verifier": rule}]}))
    assert item.rubric is not None and isinstance(item.rubric.criteria[0].verifier, wire.JsonSchema)
    assert item.rubric.criteria[0].verifier.json_schema == {"const": None}


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    rows = read_items(lines_file(tmp_path, ITEM, "{broken"))
    assert next(rows).response == "Hi."
    with pytest.raises(DataError):
        next(rows)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_an_error_that_is_kept_keeps_no_file_open(tmp_path: Path) -> None:
    """Counted in /proc."""
    path = lines_file(tmp_path, {"text": "?"}, ITEM)
    with pytest.raises(DataError) as kept:
        list(read_items(path))
    open_files = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert kept.value.__traceback__ is not None
    assert str(path.resolve()) not in open_files


def _without(row: Json, *keys: str) -> Json:
    return {key: value for key, value in row.items() if key not in keys}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{broken", "line 2: not JSON at column 2"),
        ("[1]", "line 2: not an object"),
        ("[" * 100_000, "line 2: "),
        ({"items": [ITEM]}, "line 2: a whole request; write each of its `items`"),
        (
            {"text": "?"},
            "line 2: no `prompt`; its columns are `text`; a row must be in one of these formats: item of POST",
        ),
        (_without(ITEM, "response"), "line 2: no `response` or `responses`; add the responses to judge"),
        (
            _without({**ITEM, "promt": "?"}, "prompt"),
            "line 2: no `prompt`; its columns are `response`, `rubric`, `promt`",
        ),
        (
            {**ITEM, "prompt": [{"role": "user", "content": 7}]},
            "line 2: `prompt[0].content`: is 7; write a text",
        ),
        (
            {**ITEM, "prompt": [{"role": "me", "content": ""}]},
            "line 2: `prompt[0].role`: is the text 'me'; write one of 'system'",
        ),
        ({**ITEM, "prompt": 7}, "line 2: `prompt`: is 7; write a text or a list"),
        (
            {**ITEM, "rubric": [{"text": "t", "points": "7"}]},
            "line 2: `rubric[0].points`: is the text '7'; write a number",
        ),
        (
            '{"prompt": "p", "response": "r", "rubric": [{"text": "t", "points": NaN}]}',
            "`rubric[0].points`: no finite number",
        ),
        (
            '{"prompt": "p", "response": "r", "rubric": [{"text": "t", "points": 7, "points": -7}]}',
            "line 2: `rubric[0].points`: this key stands twice in one object; keep one",
        ),
        ({**ITEM, "id": "0"}, "line 2: `id` is '0', and "),
        (_without(VERL, "response"), "line 2: no `response` or `responses`; add the responses to judge"),
        ({**VERL, "responses": ["a"]}, "line 2: both `response` and `responses`"),
        ({**VERL, "response": 7}, "line 2: `response` is 7; write a text, a list of texts"),
        ({**VERL, "response": []}, "line 2: `response` is an empty list; write a text, a list of texts"),
        ({**VERL, "reward_model": {"rubrics": []}}, "line 2: `reward_model.rubrics` is missing or empty"),
        (
            {**VERL, "reward_model": {"rubrics": [{"criterion": "", "points": 1}]}},
            "line 2: `reward_model.rubrics[0].criterion`: is empty; write something",
        ),
        (
            {**VERL, "reward_model": {"rubrics": [{"criterion": "c", "points": 1, "tags": ["verifier:rule"]}]}},
            "line 2: `reward_model.rubrics[0]`: tag `function` names no rule",
        ),
        (_without(VERL, "prompt"), "line 2: `prompt`: is missing; give a text or a list"),
        (
            {**RAR, "rubric": [{"title": "t", "description": "d"}]},
            "line 2: `rubric[0].weight`: is missing; give a number",
        ),
        ({**RAR, "rubric": "[]"}, "line 2: `rubric`: is empty"),
        (
            {**RAR, "rubric": "none"},
            "line 2: `rubric` is the text 'none'; write a list or an object, or the same as JSON",
        ),
        ({**RAR, "question": None}, "line 2: no `prompt`; its columns are `question`, "),
    ],
)
def test_a_slip_names_line_field_and_remedy(tmp_path: Path, row: Any, said: str) -> None:
    assert said in _slip(lines_file(tmp_path, ITEM, row))


def test_a_slip_in_parquet_names_the_row(tmp_path: Path) -> None:
    broken = {**ITEM, "rubric": [{"text": "t"}]}
    assert "row 1 (the first is row 0): `rubric[0].points`: is missing; give a number" in _slip(
        parquet_file(tmp_path, ITEM, broken)
    )
    missing = "row 0 (the first is row 0): no `mine`; add the responses to judge"
    assert missing in _slip(parquet_file(tmp_path, VERL), law=Law(response_column="mine"))


def test_a_line_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "p", "response": "r"}\n{"prompt": "\xff"}\n')
    assert "line 2: not UTF-8 at byte 13" in _slip(path)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    assert "No such file" in _slip(tmp_path / "none.jsonl")
    assert "No such file" in _slip(tmp_path / "none.parquet")
    assert "not readable as parquet" in _slip(lines_file(tmp_path, ITEM, name="text.parquet"))
    assert "must end in one of .jsonl, " in _slip(lines_file(tmp_path, ITEM, name="in.txt"))


def test_without_pyarrow_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet_file(tmp_path, ITEM)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'rubricd[cli]'" in _slip(path)
