"""Reads the rows of a path: a file of any kind, a folder of shards, a Hugging Face dataset on disk, or standard input.

Guarantees: rows come in the order of the files, and files of a folder in the order of their names. A file of a kind
that is not known is an error, and so is a folder without any of a known kind; in a folder other files are ignored.
"""

import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

from trainer_client.data.files import arrow_rows, csv_rows, json_rows
from trainer_client.data.files.arrow_rows import Columns
from trainer_client.errors import DataError

STANDARD_INPUT = "-"
_GZIP = b"\x1f\x8b"
_Rows = Generator[tuple[str, Any]]

_TEXT: dict[str, Callable[[str, IO[bytes]], _Rows]] = {
    ".jsonl": json_rows.lines,
    ".ndjson": json_rows.lines,
    ".json": json_rows.document,
    ".csv": csv_rows.rows,
}
_TABLES: dict[str, Callable[[Path, Columns], _Rows]] = {".parquet": arrow_rows.parquet, ".arrow": arrow_rows.arrow}
KINDS = ", ".join([*_TEXT, *_TABLES])


def rows(paths: Sequence[str | Path], columns: Columns = None) -> _Rows:
    """Yields place and content of each row of all paths. Raises DataError at the first that cannot be read. Of files
    with columns only `columns` are read, where they are given."""
    for path in paths:
        if str(path) == STANDARD_INPUT:
            yield from _text("standard input", sys.stdin.buffer, json_rows.lines)
        else:
            for file in _files(Path(path)):
                yield from _file(file, columns)


def stem(path: str | Path) -> str:
    """The path's name without what its kind adds: `train` of `train.jsonl.gz`."""
    name = Path(path).name.removesuffix(".gz")
    return Path(name).stem if _kind(Path(path)) in {*_TEXT, *_TABLES} else name


def _kind(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _file(path: Path, columns: Columns) -> _Rows:
    kind = _kind(path)
    if kind in _TABLES:
        if path.suffix == ".gz":
            raise DataError(f"{path}: unpack it first; a {kind} file is read in parts, which gzip does not allow")
        yield from _TABLES[kind](path, columns)
        return
    if kind not in _TEXT:
        raise DataError(
            f"{path}: cannot tell what it holds; its name must end in one of {KINDS}, the first four also with .gz"
        )
    try:
        with path.open("rb") as file:
            yield from _text(str(path), file, _TEXT[kind])
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _text(name: str, file: IO[bytes], read: Callable[[str, IO[bytes]], _Rows]) -> _Rows:
    try:
        with _unpacked(file) as unpacked:
            yield from read(name, unpacked)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{name}: its gzip is damaged or cut off; pack it again") from None


@contextmanager
def _unpacked(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The file's content, whatever its name says about gzip."""
    if isinstance(file, io.BufferedReader) and file.peek(2)[:2] == _GZIP:
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield unpacked  # type: ignore[misc]
    else:
        yield file


def _files(path: Path) -> list[Path]:
    """The files that the path means, in order."""
    if not path.exists():
        near = get_close_matches(path.name, _names(path.parent), n=1)
        raise DataError(f"{path}: No such file or directory{f'; did you mean {near[0]}?' if near else ''}")
    if not path.is_dir():
        return [path]
    if (path / "dataset_dict.json").exists():
        splits = _listed(path / "dataset_dict.json")["splits"]
        if len(splits) != 1:
            names = ", ".join(str(path / split) for split in splits)
            raise DataError(f"{path}: a dataset with several splits; name one of them: {names}")
        return _files(path / splits[0])
    if (path / "state.json").exists():
        return [path / one["filename"] for one in _listed(path / "state.json")["_data_files"]]
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith((".", "_")))
    shards = [file for file in files if _kind(file) in {*_TEXT, *_TABLES}]
    if not shards:
        raise DataError(f"{path}: a folder without rows; it must hold files that end in one of {KINDS}")
    return shards


def _names(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()] if folder.is_dir() else []


def _listed(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable ({error}); save the dataset again with `save_to_disk`") from None
