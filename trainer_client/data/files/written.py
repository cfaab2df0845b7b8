"""Writes rows to a file of JSON lines, a JSON document or parquet.

Guarantees: the file is there whole, or as it was before. Parquet that was read from parquet keeps its columns' types
where the rows still fit them.
"""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer_client.errors import DataError

KINDS = (".jsonl", ".ndjson", ".json", ".parquet")


def check_name(path: Path) -> None:
    """Raises DataError for a name from which nobody can tell what to write."""
    if _kind(path) not in KINDS or (path.suffix == ".gz" and _kind(path) == ".parquet"):
        raise DataError(f"{path}: rows are written to a file whose name ends in {', '.join(KINDS)}, or .jsonl.gz")


def write_rows(path: Path, rows: Sequence[Any], *, like: Path | None = None) -> None:
    """`like` is the file that the rows were read from. Raises DataError."""
    check_name(path)
    path = path.resolve()
    new = path.with_name(f"{path.name}.new")
    try:
        if _kind(path) == ".parquet":
            _parquet(new, rows, like)
        else:
            text = json.dumps(list(rows), ensure_ascii=False, indent=1) if _kind(path) == ".json" else _lines(rows)
            content = text.encode("utf-8", errors="backslashreplace")
            new.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        os.replace(new, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        new.unlink(missing_ok=True)


def _kind(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _lines(rows: Sequence[Any]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def _parquet(path: Path, rows: Sequence[Any], like: Path | None) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path}: writing it needs pyarrow: pip install 'rubricd[cli]'") from None
    schema = pyarrow.schema([]) if like is None or _kind(like) != ".parquet" else parquet.read_schema(like)
    try:
        table = pyarrow.Table.from_pylist(list(rows), schema=_with_all_columns(schema, rows))
    except (pyarrow.ArrowException, TypeError, AttributeError) as error:
        raise DataError(f"{path}: the rows do not fit into one table ({error}); write them to a .jsonl file") from None
    parquet.write_table(table, path)


def _with_all_columns(schema: Any, rows: Sequence[Any]) -> Any:
    """The schema, and the columns that the rows have beyond it."""
    import pyarrow

    for name in dict.fromkeys(name for row in rows for name in row):
        if name not in schema.names:
            schema = schema.append(pyarrow.field(name, pyarrow.array([row.get(name) for row in rows]).type))
    return schema
