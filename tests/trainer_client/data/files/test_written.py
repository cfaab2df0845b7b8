"""Rows come back as they were written, and a file is there whole or not at all."""

from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from trainer_client.data.files import sources
from trainer_client.data.files.written import write_rows
from trainer_client.errors import DataError

ROWS: list[dict[str, Any]] = [{"id": "a", "n": 1, "tags": ["x"]}, {"id": "b", "n": 2, "tags": [], "more": "ü"}]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.ndjson", "rows.json", "rows.parquet", "rows.jsonl.gz"])
def test_rows_come_back(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / name, ROWS)
    assert [row for _, row in sources.rows([tmp_path / name])] == ROWS
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_parquet_keeps_the_types_that_it_was_read_with_and_takes_new_columns(tmp_path: Path) -> None:
    schema = pyarrow.schema(
        [("id", pyarrow.large_string()), ("n", pyarrow.int16()), ("tags", pyarrow.list_(pyarrow.string()))]
    )
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS, schema=schema), source)
    write_rows(out, ROWS, like=source)
    assert parquet.read_schema(out).field("n").type == pyarrow.int16()
    assert parquet.read_schema(out).names == ["id", "n", "tags", "more"]


def test_a_name_that_says_no_kind_is_refused(tmp_path: Path) -> None:
    for name in ("rows", "rows.csv", "rows.parquet.gz"):
        with pytest.raises(DataError, match="whose name ends in"):
            write_rows(tmp_path / name, ROWS)


def test_rows_that_are_no_table_and_folders_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text("was here")
    with pytest.raises(DataError, match="write them to a"):
        write_rows(tmp_path / "rows.parquet", [{"a": 1}, {"a": "x"}])
    assert (tmp_path / "rows.parquet").read_text() == "was here"
    with pytest.raises(DataError, match="cannot be written"):
        write_rows(tmp_path / "no" / "rows.jsonl", ROWS)
