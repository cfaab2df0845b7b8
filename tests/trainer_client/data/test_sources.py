"""One row in every kind of file, and what is said of files that cannot be read."""

import csv
import gzip
import io
import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer_client.data.files import sources
from trainer_client.data.items import read_items
from trainer_client.data.rows import read_rows
from trainer_client.errors import DataError

Json = dict[str, Any]
ROWS: list[Json] = [
    {
        "prompt": [{"role": "user", "content": f'Is {n}, or "{n}",\nright?'}],
        "rubric": [{"text": "Is é.", "points": 1.5, "tags": ["a:b"]}],
        "response": f"Yes, {n}.",
        "level": str(n),
    }
    for n in range(3)
]


def _text_columns(row: Json) -> Json:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}


def _jsonl(path: Path) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return path


def _json(path: Path) -> Path:
    path.write_text(json.dumps(ROWS, indent=1))
    return path


def _csv(path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(map(_text_columns, ROWS))
    return path


def _parquet(path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


def _packed(path: Path) -> Path:
    path.write_bytes(gzip.compress(_jsonl(path.with_name("plain.jsonl")).read_bytes()))
    path.with_name("plain.jsonl").unlink()
    return path


def _saved(path: Path) -> Path:
    import datasets

    datasets.Dataset.from_list(ROWS).save_to_disk(path, num_shards=2)
    return path


def _splits(path: Path) -> Path:
    import datasets

    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(path)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    (path / "README.md").write_text("shards")
    for n, row in enumerate(ROWS):
        (path / f"part-{n}.jsonl").write_text(json.dumps(row))
    return path


KINDS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "jsonl": ("in.jsonl", _jsonl),
    "lines in .json": ("in.json", _jsonl),
    "json": ("in.json", _json),
    "csv": ("in.csv", _csv),
    "parquet": ("in.parquet", _parquet),
    "gzip": ("in.jsonl.gz", _packed),
    "gzip without its name": ("in.jsonl", _packed),
    "saved dataset": ("in", _saved),
    "saved splits": ("in", _splits),
    "folder": ("in", _folder),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_in_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "plain").mkdir()
    name, write = KINDS[kind]
    path, plain = write(tmp_path / name), _jsonl(tmp_path / "plain" / "in.jsonl")
    assert list(read_items(path)) == list(read_items(plain))
    assert list(read_rows(path)) == list(read_rows(plain))
    assert sources.stem(path) == "in"


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "in.jsonl")
    for content in (path.read_bytes(), gzip.compress(path.read_bytes())):
        piped = io.BufferedReader(io.BytesIO(content))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(piped))
        assert list(read_items("-")) == list(read_items(path))


def test_several_files_are_one_file_in_their_order(tmp_path: Path) -> None:
    first, second = tmp_path / "b.jsonl", tmp_path / "a.jsonl"
    first.write_text(json.dumps(ROWS[0]))
    second.write_text(json.dumps(ROWS[1]))
    assert [item.response for item in read_items(first, second)] == ["Yes, 0.", "Yes, 1."]


def _said(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(read_items(path))
    return str(caught.value)


def test_a_folder_names_the_shard_of_an_error(tmp_path: Path) -> None:
    path = _folder(tmp_path / "in")
    (path / "part-1.jsonl").write_text("{")
    assert f"{path / 'part-1.jsonl'}, line 1: not JSON" in _said(path)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_what_is_said_of_files_that_cannot_be_read(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(ROWS[0]).encode() * 100)
    assert "cannot tell what it holds; its name must end in one of .jsonl" in _said(_write(tmp_path / "a.txt", b"x"))
    assert "its gzip is damaged or cut off" in _said(_write(tmp_path / "b.jsonl.gz", packed[:40]))
    assert "unpack it first" in _said(_write(tmp_path / "c.parquet.gz", packed))
    assert "row 0 (the first is row 0): has more cells" in _said(_write(tmp_path / "d.csv", b"a,b\n1,2,3\n"))
    assert "not UTF-8" in _said(_write(tmp_path / "e.csv", b"a,b\n\xff,1\n"))
    assert "the file must hold a list of objects" in _said(_write(tmp_path / "f.json", b"[1,"))
    assert "row 1 (the first is row 0): not an object but 1" in _said(
        _write(tmp_path / "g.json", json.dumps([ROWS[0], 1]).encode())
    )
    assert "No such file" in _said(tmp_path / "none.jsonl")
    (tmp_path / "empty").mkdir()
    assert "a folder without rows" in _said(tmp_path / "empty")


def test_a_dataset_with_several_splits_names_them(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert f"name one of them: {tmp_path / 'train'}, {tmp_path / 'test'}" in _said(tmp_path)


@pytest.mark.parametrize("kind", ["in.jsonl", "in.parquet", "in.jsonl.gz", "in.csv"])
def test_a_large_file_is_not_held_as_a_whole(tmp_path: Path, kind: str) -> None:
    """40 MB of rows; the figure is what Python holds at most while they are read."""
    many, path = 4_000, tmp_path / kind
    row = _text_columns({**ROWS[0], "response": "x" * 10_000})
    if kind.endswith(".parquet"):
        schema = pa.schema({name: pa.string() for name in row})
        with pq.ParquetWriter(path, schema) as writer:
            for _ in range(10):
                writer.write_table(pa.Table.from_pylist([row] * (many // 10), schema=schema))
    elif kind.endswith(".csv"):
        with path.open("w", newline="") as file:
            writer_ = csv.DictWriter(file, list(row))
            writer_.writeheader()
            writer_.writerows(row for _ in range(many))
    else:
        text = "".join(f"{json.dumps(row)}\n" for _ in range(many)).encode()
        path.write_bytes(gzip.compress(text, 1) if kind.endswith(".gz") else text)
    tracemalloc.start()
    count = sum(1 for _ in sources.rows([path]))
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == many and held < 8_000_000
