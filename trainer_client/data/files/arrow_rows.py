"""Reads rows of parquet files and of Hugging Face datasets on disk. It needs pyarrow.

Guarantees: batches are read as the caller takes them, and only the columns that are asked for, each of which is there
once. Nulls are left out.
"""

from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

from trainer_client.data import records
from trainer_client.errors import DataError

_BATCH = 256
Columns = Collection[str] | None
"""None stands for all."""


def parquet(path: Path, columns: Columns) -> Generator[tuple[str, Any]]:
    """Yields place and row."""
    _require_pyarrow(path)
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            batches = file.iter_batches(batch_size=_BATCH, columns=_chosen(path, file.schema_arrow.names, columns))
            yield from _rows(path, batches)
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}") from None


def arrow(path: Path, columns: Columns) -> Generator[tuple[str, Any]]:
    """A file of an Arrow stream, as the `datasets` library saves. Yields place and row."""
    _require_pyarrow(path)
    from pyarrow import ArrowException, ipc, memory_map

    try:
        with memory_map(str(path)) as file, ipc.open_stream(file) as stream:
            chosen = _chosen(path, stream.schema.names, columns)
            yield from _rows(path, (batch.select(chosen) for batch in stream))
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: not readable as an Arrow stream: {error}") from None


def _chosen(path: Path, names: list[str], columns: Columns) -> list[str]:
    chosen = [name for name in names if columns is None or name in columns]
    records.check_names(str(path), chosen)
    return chosen


def _rows(path: Path, batches: Any) -> Generator[tuple[str, Any]]:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH):
            for row in batch.slice(start, _BATCH).to_pylist():
                yield f"{path}, row {number} (the first is row 0)", records.without_nulls(row)
                number += 1


def _require_pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise DataError(f"{path}: reading it needs pyarrow: pip install 'rubricd[cli]'") from None
