"""Files as other programs write them: each is read as its author means it, or refused in one sentence."""

import csv
import importlib
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from trainer_client import wire
from trainer_client.data.items import read_items
from trainer_client.errors import DataError

pd: Any = importlib.import_module("pandas")  # it has no types

Json = dict[str, Any]
RUBRIC: list[Json] = [{"text": "Says to rest.", "points": 5}, {"text": "Says to run.", "points": -3}]
ROW: Json = {"prompt": "Knee?", "response": "Rest."}
TEXT = json.dumps(RUBRIC)


def read(path: Path) -> list[wire.Item]:
    return list(read_items(path))


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    said = str(caught.value)
    assert "\n" not in said and said.startswith(str(path.parent)), said
    return said.removeprefix(f"{path}")


def csv_file(folder: Path, *rows: list[str], end: str = "\r\n", encoding: str = "utf-8", delimiter: str = ",") -> Path:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, delimiter=delimiter).writerows(rows)
    (folder / "rows.csv").write_bytes(text.getvalue().encode(encoding))
    return folder / "rows.csv"


HEAD = ["prompt", "response", "rubric"]


@pytest.mark.parametrize(
    ("prompt", "how"),
    [
        ("Knee?", {"encoding": "utf-8-sig"}),
        ('Knee,\n"hurts"?', {}),
        ("Knee?\r\n\r\nToday.", {"end": "\n"}),
        ("Knee?", {"end": "\r"}),
        ("Kniê? 膝 ركبة", {}),
        ("k" * 200_000, {}),
    ],
)
def test_csv_as_spreadsheets_and_pandas_write_it(tmp_path: Path, prompt: str, how: Json) -> None:
    [item] = read(csv_file(tmp_path, HEAD, [prompt, "Rest.", TEXT], **how))
    assert item.prompt == prompt and item.rubric is not None
    assert [one.worth for one in item.rubric.criteria] == [5, -3]


@pytest.mark.parametrize(
    ("rows", "how", "said"),
    [
        ([["prompt", *HEAD], ["a", "b", "Rest.", TEXT]], {}, "two columns `prompt`"),
        ([HEAD, ["Knee?", "Rest."]], {}, "row 0 (the first is row 0): has fewer cells"),
        (
            [HEAD, ["Knee?", "Rest.", TEXT], ["Knee?", "Rest.", TEXT, "x"]],
            {},
            "row 1 (the first is row 0): has more cells",
        ),
        ([HEAD, ["Knee?", "Rest.", TEXT]], {"delimiter": ";"}, "more cells"),
        ([HEAD, ["Knee?", "Rest.", TEXT]], {"encoding": "utf-16"}, "not UTF-8"),
        ([HEAD, ["Kn\xe9?", "Rest.", TEXT]], {"encoding": "latin-1"}, "not UTF-8"),
        ([HEAD, ["Knee?", "Rest.", str(RUBRIC)]], {}, "the same as JSON text"),
        ([HEAD, ["Knee?", "", TEXT]], {}, "no `response`"),
        ([[one.title() for one in HEAD], ["Knee?", "Rest.", TEXT]], {}, "no `prompt`; its columns are `Prompt`"),
    ],
)
def test_csv_that_could_be_read_in_two_ways(tmp_path: Path, rows: list[list[str]], how: Json, said: str) -> None:
    assert said in refused(csv_file(tmp_path, *rows, **how))


def parquet_file(folder: Path, table: Any) -> Path:
    parquet.write_table(table, folder / "rows.parquet")
    return folder / "rows.parquet"


def test_what_pandas_writes(tmp_path: Path) -> None:
    """Nulls as NaN and None, arrays of numpy, an index of texts, categories, JSON in a column, a decimal number."""
    frame = pd.DataFrame(
        [{**ROW, "rubric": np.array(RUBRIC, dtype=object), "reference": None, "id": 7}, {**ROW, "rubric": RUBRIC[:1]}],
        index=["x", "y"],
    )
    frame["id"] = pd.array([7, 8], dtype="Int64")
    frame["prompt"] = frame["prompt"].astype("category")
    frame["reference"] = [np.nan, "Rest."]
    frame.to_parquet(tmp_path / "rows.parquet")
    one, two = read(tmp_path / "rows.parquet")
    assert (one.id, one.reference, two.id, two.reference) == ("7", None, "8", "Rest.")
    pd.DataFrame([{"prompt": "Knee?", "responses": np.array(["a", "b"]), "rubric": TEXT}]).to_parquet(
        tmp_path / "rows.parquet"
    )
    [item] = read(tmp_path / "rows.parquet")
    assert item.responses == ["a", "b"] and item.rubric is not None and len(item.rubric.criteria) == 2
    criterion = {"criterion": "Says to rest.", "points": Decimal("2.50"), "tags": ["axis:tone", None]}
    [item] = read(parquet_file(tmp_path, pyarrow.Table.from_pylist([{**ROW, "rubric": [criterion]}])))
    assert item.rubric is not None
    assert [(one.worth, dict(one.tags)) for one in item.rubric.criteria] == [(2.5, {"axis": "tone"})]


def test_parquet_that_could_be_read_in_two_ways(tmp_path: Path) -> None:
    names = ["prompt", "prompt", "response", "rubric"]
    table = pyarrow.table([pyarrow.array([one]) for one in ("a", "b", "r", RUBRIC)], names=names)
    assert "two columns `prompt`" in refused(parquet_file(tmp_path, table))
    pd.DataFrame([{**ROW, "id": 1, "rubric": TEXT}, {**ROW, "rubric": TEXT}]).to_parquet(tmp_path / "rows.parquet")
    assert "`id`: is 1.0" in refused(tmp_path / "rows.parquet"), "NaN made a float of each id"
    table = pyarrow.Table.from_pylist([{**ROW, "rubric": [None, RUBRIC[0]]}])
    assert "`rubric[0]`: is null" in refused(parquet_file(tmp_path, table))


def test_what_datasets_saves(tmp_path: Path) -> None:
    text, kind = datasets.Value("string"), datasets.ClassLabel(names=["bad", "good"])
    told = {"prompt": text, "response": text, "label": kind}
    rubric = [{"text": text, "points": datasets.Value("int8")}]
    rows = datasets.Dataset.from_list(
        [{**ROW, "label": 1, "rubric": RUBRIC}], datasets.Features({**told, "rubric": rubric})
    )
    rows.save_to_disk(str(tmp_path / "saved"))
    [item] = read(tmp_path / "saved")
    assert item.metadata == {"label": 1} and item.rubric is not None and item.rubric.criteria[1].worth == -3
    columns = {"text": ["Says to rest.", "Says to run."], "points": [5, -3]}
    datasets.Dataset.from_list([{**ROW, "rubric": columns}]).save_to_disk(str(tmp_path / "columns"))
    with pytest.raises(DataError, match="`rubric` holds a list of each field, as `Sequence` of the datasets library"):
        read(tmp_path / "columns")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"points": "5"}, "`rubric[0].points`: is the text '5'"),
        ({"points": "\u22123"}, "`rubric[0].points`: is the text"),
        ({"points": True}, "`rubric[0].points`: is true"),
        ({"points": None}, "`rubric[0].points`: is missing"),
        ({"points": 1e-9}, "0 (monitor only) or at least 1e-06"),
        ({"weight": 2}, "say the same thing"),
        ({"weight": "Essential", "points": None}, "`rubric[0].weight`: is the text"),
        ({"polarity": "neg"}, "one of 'positive' or 'negative'"),
        ({"tags": "axis:x, level:y"}, "`rubric[0].tags`: is the text"),
        ({"colour": "x"}, "`rubric[0].colour`: is not known here; leave it out"),
        ({"text": " \u200b"}, "must say something"),
        ({"points": -1, "text": "Pitfall: does not run"}, "a pitfall with negative points"),
        ({"points": -1, "text": "**Pitfalls** - does not run"}, "a pitfall with negative points"),
        ({"points": -1, "text": "[Pitfall] does not run"}, "a pitfall with negative points"),
        ({"points": -1, "text": "Pitfal Criteria - does not run"}, "a pitfall with negative points"),
        ({"points": -1, "tags": ["category:Pitfall"]}, "a pitfall with negative points"),
    ],
)
def test_no_sign_shape_or_number_is_guessed(tmp_path: Path, change: Json, said: str) -> None:
    row = {**ROW, "rubric": [{**RUBRIC[0], **change}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    assert said in refused(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    "text", ["Pitfalls of running are named", "Pitfall-free code is given", "Does not say pitfall: x"]
)
def test_a_text_that_speaks_of_pitfalls_is_none(tmp_path: Path, text: str) -> None:
    row = {**ROW, "rubric": [{"text": text, "points": -1}, {"text": "Pitfall: says to run.", "points": 2}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    [item] = read(tmp_path / "rows.jsonl")
    assert item.rubric is not None and [one.worth for one in item.rubric.criteria] == [-1, 2]


@pytest.mark.parametrize(("other", "said"), [(None, "`responses[1]` is null"), (7, "`responses[1]` is 7")])
def test_one_of_several_responses_that_is_none_is_named(tmp_path: Path, other: Any, said: str) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "Knee?", "responses": ["a", other], "rubric": RUBRIC}))
    assert f"{said}; write a text, or a list of turns" in refused(tmp_path / "rows.jsonl")


def test_lines_of_windows_with_a_mark_and_separators_inside_a_text(tmp_path: Path) -> None:
    row = json.dumps({**ROW, "prompt": "a\u2028b\x85c", "rubric": RUBRIC}, ensure_ascii=False)
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + f"{row}\r\n\r\n{row}\r\n".encode())
    assert [item.prompt for item in read(tmp_path / "rows.jsonl")] == ["a\u2028b\x85c"] * 2
