"""Reads files of responses to score as items: JSON lines, RuscaRL/verl parquet, Rubrics-as-Rewards rows.

Guarantees: no row is skipped. At the first row that cannot be read the reading stops with the file, the line or row,
the field and what to change.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.data import records
from trainer_client.data.records import RowError
from trainer_client.errors import DataError


def read_items(path: str | Path, *, response_column: str | None = None) -> Iterator[wire.Item]:
    """Yields the items of a `.jsonl` or `.parquet` file, in order.

    `response_column` names the column of the responses, a text or a list of texts; by default `response` or
    `responses`. Raises DataError at the first row that cannot be read.
    """
    path = Path(path)
    rows = records.rows(path, () if response_column is None else (response_column,))
    seen: dict[str, str] = {}
    # Close the generator of rows at once: an error that is kept would keep its file open.
    with contextlib.closing(rows):
        for index, (place, row) in enumerate(rows):
            try:
                item = _item(row, response_column)
                _check_new(item.result_ids(index), place, seen)
            except RowError as error:
                raise DataError(f"{path}, {place}: {error}") from None
            yield item


def _check_new(ids: list[str], place: str, seen: dict[str, str]) -> None:
    for id in ids:
        if id in seen:
            raise RowError(f"`id`: {seen[id]} has the same; ids must be distinct (without one, the index is the id)")
        seen[id] = place


def _item(row: Any, response_column: str | None) -> wire.Item:
    shape, row = records.recognised(row)
    if shape == "item" and response_column is None:
        return records.item(shape, row)
    fields = {key: value for key, value in records.task(shape, row).items() if key != response_column}
    return records.item(shape, fields | _responses(row, response_column))


def _responses(row: dict[str, Any], column: str | None) -> dict[str, Any]:
    names = [column] if column is not None else ["response", "responses"]
    found = [name for name in names if row.get(name) is not None]
    if not found:
        missing = " or ".join(f"`{name}`" for name in names)
        raise RowError(
            f"no {missing}; add the responses to judge, a text or a list of texts, or name their column with "
            "--response-column"
        )
    if len(found) > 1:
        raise RowError("both `response` and `responses`; keep one, or name the one to judge with --response-column")
    value = row[found[0]]
    if isinstance(value, str):
        return {"response": value}
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return {"responses": value}
    raise RowError(f"`{found[0]}` must be a text or a list of texts that is not empty")
