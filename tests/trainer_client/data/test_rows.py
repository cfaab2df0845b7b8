"""Rows of every kind of file are what the file says, and the order of training is the seed's alone."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer_client.data.test_formats import ALL, COMPLETIONS
from tests.trainer_client.data.test_items import ITEM, RAR, VERL, lines_file, parquet_file
from trainer_client import wire
from trainer_client.data import reader
from trainer_client.data.formats import table
from trainer_client.data.reader import Law
from trainer_client.data.rows import Row, read_rows, training_order
from trainer_client.errors import DataError

Json = dict[str, Any]
PITFALL: Json = {"title": "Units", "description": "Pitfall Criteria: Does not confuse the units.", "weight": -1}


def _one(path: Path, **more: Any) -> Row:
    (row,) = read_rows(path, **more)
    return row


def _rubric(row: Row) -> list[wire.Criterion]:
    assert row.rubric is not None
    return row.rubric.criteria


def test_items_need_no_response_and_lose_the_one_they_have(tmp_path: Path) -> None:
    bare = {"id": "a", "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]}
    first, second = read_rows(lines_file(tmp_path, {**bare, "rubric": ITEM["rubric"], "reference": "Hi!"}, ITEM))
    assert first.id == "a" and first.messages == tuple(bare["prompt"]) and first.reference == "Hi!"
    assert (second.id, second.messages) == ("1", ({"role": "user", "content": "Hello?"},))
    assert [(one.text, one.points) for one in _rubric(first)] == [("Is kind.", 5.0)]
    assert second.rubric == first.rubric and second.source == "in"


def test_a_row_may_have_no_rubric(tmp_path: Path) -> None:
    assert _one(lines_file(tmp_path, {"prompt": "Hello?"})).rubric is None


@pytest.mark.parametrize("write", [lines_file, parquet_file])
def test_verl_rows(tmp_path: Path, write: Any) -> None:
    row = _one(write(tmp_path, {**VERL, "extra_info": {"id": "hb-7"}}))
    assert (row.id, row.source, row.reference) == ("hb-7", "healthbench", None)
    assert row.messages == ({"role": "user", "content": "My knee hurts."},)
    assert [(one.text, one.points, one.polarity) for one in _rubric(row)] == [
        ("Tells the user to rest.", 7.0, None),
        ("Recommends running.", -4.0, None),
    ]


@pytest.mark.parametrize("write", [lines_file, parquet_file])
def test_rar_rows_keep_their_category_and_say_what_a_pitfall_means(tmp_path: Path, write: Any) -> None:
    path = write(tmp_path, {**RAR, "rubric": [*RAR["rubric"], PITFALL]})
    good, bad = _one(path, law=Law(pitfalls="met_is_good")), _one(path, law=Law(pitfalls="met_is_bad"))
    assert (good.id, good.source, good.reference) == ("0", "school", "4")
    assert [one.polarity for one in _rubric(good)] == [None, "positive"]
    assert [one.polarity for one in _rubric(bad)] == [None, "negative"]
    assert [(one.points, one.tags) for one in _rubric(good)] == [
        (5.0, {"category": "essential", "title": "Answer"}),
        (-1.0, {"category": "pitfall", "title": "Units"}),
    ]
    assert _rubric(good)[1].text == PITFALL["description"]


def test_a_pitfalls_sign_is_never_guessed(tmp_path: Path) -> None:
    rubric = [*RAR["rubric"], PITFALL]
    with pytest.raises(DataError, match=r"line 1: `rubric\[1\]` is a pitfall .* set `pitfalls: met_is_bad`"):
        _one(lines_file(tmp_path, {**RAR, "rubric": rubric}))
    model = {"rubrics": [{"criterion": PITFALL["description"], "points": -2, "tags": []}]}
    with pytest.raises(DataError, match="is a pitfall"):
        _one(lines_file(tmp_path, {**VERL, "reward_model": model}))
    said = {**PITFALL, "polarity": "positive"}
    row = _one(lines_file(tmp_path, {**RAR, "rubric": [said]}), law=Law(pitfalls="met_is_bad"))
    assert _rubric(row)[0].polarity == "positive"
    item = {"prompt": "?", "rubric": [{"text": PITFALL["description"], "points": -1}]}
    with pytest.raises(DataError, match=r"`rubric\[0\]` is a pitfall"):
        _one(lines_file(tmp_path, item))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"rubric": []}, "no `prompt`"),
        ([1], "not an object"),
        ({"prompt": []}, "`prompt`: must end with a turn that the policy answers"),
        ({"prompt": [{"role": "assistant", "content": "Hi"}]}, "`prompt`: must end with a turn"),
        ({"prompt": "?", "rubric": [{"text": "a", "points": "5"}]}, r"`rubric\[0\].points`: "),
        ({"prompt": "?", "rubric": [{"text": "a", "pointz": 5}]}, r"`rubric\[0\]\.point"),
        (
            {"prompt": "?", "rubric": [{"text": "a", "points": 5, "colour": 3}]},
            r"`rubric\[0\].colour`: is not known here",
        ),
        ({"prompt": "?", "reward_model": {"rubrics": []}}, "`reward_model.rubrics` is missing or empty"),
        ({"question": "?", "rubric": [{"description": "a", "weight": "x"}]}, r"`rubric\[0\].weight`"),
    ],
)
def test_slips_are_told_with_their_place(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"in.jsonl, line 2: {said}"):
        list(read_rows(lines_file(tmp_path, ITEM, row)))


def test_ids_are_distinct(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2: `id` is '1', and .*line 1 has the same"):
        list(read_rows(lines_file(tmp_path, {**ITEM, "id": "1"}, ITEM)))


def _rows(count: int) -> list[Row]:
    return [Row(str(n), ({"role": "user", "content": f"{n}?"},), None, None, "made-up") for n in range(count)]


def test_the_order_is_the_seeds_alone_and_every_epoch_has_its_own() -> None:
    rows = _rows(50)
    order = training_order(rows, epochs=3, seed=7)
    assert order == training_order(rows, epochs=3, seed=7) != training_order(rows, epochs=3, seed=8)
    assert order[:100] == training_order(rows, epochs=2, seed=7)
    epochs = [order[start : start + 50] for start in (0, 50, 100)]
    assert all({row.id for row in epoch} == {row.id for row in rows} for epoch in epochs)
    assert len({tuple(row.id for row in epoch) for epoch in [rows, *epochs]}) == 4


def test_epochs_are_cut_to_whole_batches() -> None:
    order = training_order(_rows(10), epochs=3, seed=0, batch=4)
    assert len(order) == 24
    for start in range(0, 24, 8):
        assert len({row.id for row in order[start : start + 8]}) == 8
    assert len(training_order(_rows(3), epochs=3, seed=0, batch=4)) == 0


def test_the_papers_350_steps_come_from_its_4500_rows() -> None:
    assert len(training_order(_rows(4500), epochs=5, seed=0, batch=64)) == 350 * 64


def test_over_many_seeds_every_place_sees_every_row() -> None:
    seen = Counter(training_order(_rows(4), epochs=1, seed=seed)[0].id for seed in range(400))
    assert set(seen) == {"0", "1", "2", "3"} and min(seen.values()) > 60


def test_rows_of_a_table_with_more_columns(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.Table.from_pylist([{**VERL, "ability": "chat", "weird": 1}]), path)
    assert _one(path).source == "healthbench"
    assert json.loads(json.dumps(_one(path).messages)) == VERL["prompt"]


def test_of_a_table_only_the_columns_that_a_training_needs_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.Table.from_pylist([{**VERL, "picture": "x" * 100}]), path)
    read: list[str] = []
    whole = reader.for_training

    def recorded(raw: Json, law: Law) -> reader.Read:
        read.extend(raw)
        return whole(raw, law)

    monkeypatch.setattr(reader, "for_training", recorded)
    _one(path)
    assert sorted(read) == ["data_source", "prompt", "reward_model"]
    with pytest.raises(DataError, match="`picture` is not read"):
        _one(path, law=Law(strict=True))


@pytest.mark.parametrize("row", [*ALL.values(), COMPLETIONS, RAR, VERL], ids=lambda row: "-".join(row))
def test_every_format_needs_no_other_column_for_a_training(row: Json) -> None:
    kept = {name: value for name, value in row.items() if name in table.TRAINING_COLUMNS}
    assert reader.for_training(kept, reader.LENIENT) == reader.for_training(row, reader.LENIENT)
