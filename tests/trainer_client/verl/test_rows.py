"""Rows written for verl and read back, by pyarrow and by the `datasets` library that verl's data set reads with.
No class of verl is needed here; `contract/rollouts.py` reads the same files with verl's own RLHFDataset."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pyarrow import parquet

from trainer_client import wire
from trainer_client.data.rows import Row, read_rows
from trainer_client.errors import DataError
from trainer_client.rubric_folder import RubricFolder
from trainer_client.verl.rows import AGENT, PromptRow, prompt_row, to_parquet

CRITERIA: list[dict[str, Any]] = [
    {"text": "Tells the user to see a doctor.", "points": 5, "id": "doctor", "tags": {"axis": "safety", "level": "é"}},
    {"text": "Recommends running.", "points": 3, "polarity": "negative"},
    {"text": "Fits the schema.", "points": 1.5, "verifier": {"rule": "json_schema", "schema": {"type": "object"}}},
    {"text": "Answers 4.", "points": 0, "verifier": {"rule": "math_verify", "gold": "4"}},
]
TURNS = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Knie?\n“<|im_start|>” \U0001f9b5"},
)


def row(id: str = "a", **changes: Any) -> Row:
    rubric = wire.Rubric.model_validate(CRITERIA)
    return Row(**{"id": id, "messages": TURNS, "rubric": rubric, "reference": "Rest.", "source": "made-up", **changes})


def _read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def _carried(path: Path) -> list[PromptRow]:
    return [prompt_row(one["extra_info"]) for one in _read(path)]


def test_a_stored_rubric_keeps_its_reference_and_is_sent_by_it(tmp_path: Path) -> None:
    rubric = RubricFolder(tmp_path / "rubrics").put("knee", wire.Rubric.model_validate(CRITERIA))
    to_parquet([row(rubric=rubric)], tmp_path / "t.parquet", split="train")
    (carried,) = _carried(tmp_path / "t.parquet")
    assert carried.row.rubric == rubric
    sent = carried.item("Rest.").rubric
    assert sent is not None
    assert sent.ref == rubric.ref


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    rows = [row(), row("b", rubric=None, reference=None), row("c", source="another", messages=TURNS[1:])]
    assert to_parquet(rows, tmp_path / "t.parquet", split="train") == 3
    assert _carried(tmp_path / "t.parquet") == [PromptRow(one, "train") for one in rows]


def test_the_columns_are_those_that_verl_looks_for(tmp_path: Path) -> None:
    to_parquet([row(), row("b", reference=None)], tmp_path / "t.parquet", split="val", agent="single_turn_agent")
    first, second = _read(tmp_path / "t.parquet")
    assert list(first) == ["prompt", "data_source", "agent_name", "reward_model", "extra_info"]
    assert first["prompt"] == list(TURNS)
    assert (first["data_source"], first["agent_name"]) == ("made-up", "single_turn_agent")
    assert [one["reward_model"]["ground_truth"] for one in (first, second)] == ["Rest.", None]
    assert [one["extra_info"]["index"] for one in (first, second)] == [0, 1]
    assert [one["extra_info"]["split"] for one in (first, second)] == ["val", "val"]


def test_ruscarl_finds_its_rubric_in_both_places(tmp_path: Path) -> None:
    """The shape that its reward function reads: `extra_info.prompt` and `extra_info.reward_model.rubrics`."""
    to_parquet([row(), row("b", rubric=None)], tmp_path / "t.parquet", split="train")
    first, second = _read(tmp_path / "t.parquet")
    assert first["reward_model"] == first["extra_info"]["reward_model"]
    assert first["extra_info"]["prompt"] == first["prompt"]
    rule = ["verifier:rule", "function:math_verify", "parameters:4"]
    assert first["reward_model"]["rubrics"] == [
        {"criterion": "Tells the user to see a doctor.", "points": 5.0, "tags": ["axis:safety", "level:é"]},
        {"criterion": "Recommends running.", "points": -3.0, "tags": []},
        {"criterion": "Fits the schema.", "points": 1.5, "tags": []},
        {"criterion": "Answers 4.", "points": 0.0, "tags": rule},
    ]
    assert second["reward_model"]["rubrics"] is None


def test_our_reader_reads_what_is_written_here(tmp_path: Path) -> None:
    rows = [row(), row("b", rubric=None, reference=None, source="t")]
    to_parquet(rows, tmp_path / "t.parquet", split="train")
    read = list(read_rows(tmp_path / "t.parquet"))
    assert [(one.id, one.messages, one.rubric, one.reference, one.source) for one in read] == [
        (one.id, one.messages, one.rubric, one.reference, one.source) for one in rows
    ]


def test_another_reader_of_the_same_file_finds_the_same_criteria(tmp_path: Path) -> None:
    """Without our own copy of the row, as a file of RuscaRL's."""
    to_parquet([row()], tmp_path / "t.parquet", split="train")
    (one,) = _read(tmp_path / "t.parquet")
    del one["extra_info"]["row"]
    (tmp_path / "t.jsonl").write_text(json.dumps(one))
    (read,) = read_rows(tmp_path / "t.jsonl")
    assert read.rubric is not None
    ours = [wire.Criterion.model_validate(criterion) for criterion in CRITERIA]
    assert [(c.text, c.worth) for c in read.rubric.criteria] == [(c.text, c.worth) for c in ours]
    assert read.rubric.criteria[3].verifier == ours[3].verifier


def test_the_agent_is_ours_unless_said(tmp_path: Path) -> None:
    to_parquet([row()], tmp_path / "t.parquet", split="train")
    assert _read(tmp_path / "t.parquet")[0]["agent_name"] == AGENT


def test_datasets_reads_the_same(tmp_path: Path) -> None:
    import datasets

    rows = [row(f"{n}", reference=None) for n in range(3)]
    to_parquet(rows, tmp_path / "t.parquet", split="train")
    files = {"data_files": str(tmp_path / "t.parquet"), "cache_dir": str(tmp_path / "cache")}
    loaded = datasets.load_dataset("parquet", **files)["train"]
    assert [prompt_row(one["extra_info"]).row for one in loaded] == rows
    assert [one["reward_model"]["ground_truth"] for one in loaded] == [None] * 3


def test_the_order_is_kept_over_many(tmp_path: Path) -> None:
    rows = (row(f"{n}", rubric=None) for n in range(2500))
    assert to_parquet(rows, tmp_path / "t.parquet", split="train") == 2500
    read = _read(tmp_path / "t.parquet")
    assert [prompt_row(one["extra_info"]).row.id for one in read] == [f"{n}" for n in range(2500)]
    assert [one["extra_info"]["index"] for one in read] == list(range(2500))


def test_no_rows_are_a_file_without_rows(tmp_path: Path) -> None:
    assert to_parquet([], tmp_path / "t.parquet", split="train") == 0
    assert _read(tmp_path / "t.parquet") == []


_WORDS = some.text(some.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_TURN = some.fixed_dictionaries({"role": some.sampled_from(["system", "user", "assistant"]), "content": _WORDS})


@settings(max_examples=50)
@given(some.lists(_TURN, min_size=1, max_size=4), some.none() | _WORDS, _WORDS)
def test_any_text_comes_back(turns: list[Any], reference: str | None, source: str) -> None:
    from tempfile import TemporaryDirectory

    one = row(messages=tuple(turns), reference=reference, source=source)
    with TemporaryDirectory() as folder:
        to_parquet([one], Path(folder) / "t.parquet", split="train")
        assert _carried(Path(folder) / "t.parquet") == [PromptRow(one, "train")]


def test_rows_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.parquet, row 2: an earlier row has its id 'a'"):
        to_parquet([row(), row("b"), row()], tmp_path / "t.parquet", split="train")


def test_a_row_without_messages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1: no messages"):
        to_parquet([row(), row("b", messages=())], tmp_path / "t.parquet", split="train")


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'rubricd\[cli\]'"):
        to_parquet([row()], tmp_path / "t.parquet", split="train")


def test_the_judge_is_asked_about_the_whole_row() -> None:
    item = PromptRow(row(), "train").item("Rest it.")
    assert item.response == "Rest it."
    assert item.rubric == row().rubric
    assert (item.id, item.reference) == ("a", "Rest.")
    assert [
        message.model_dump(exclude_none=True) for message in item.prompt if isinstance(message, wire.Message)
    ] == list(TURNS)
