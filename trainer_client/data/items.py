"""Reads files of responses to score as items, of any kind of file and any format of rows.

Guarantees: no row is skipped. At the first row that cannot be read the reading stops with the file, the line or row,
the field, what is there and what to write.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from trainer_client import wire
from trainer_client.data import reader
from trainer_client.data.files import sources
from trainer_client.data.reader import LENIENT, Law
from trainer_client.data.records import RowError
from trainer_client.errors import DataError


def read_items(*paths: str | Path, law: Law = LENIENT) -> Iterator[wire.Item]:
    """Yields the items of files, folders or standard input (`-`), in order. Raises DataError at the first row that
    cannot be read."""
    rows = sources.rows(paths)
    seen: dict[str, str] = {}
    # Close the generator of rows at once: an error that is kept would keep its file open.
    with contextlib.closing(rows):
        for index, (place, row) in enumerate(rows):
            try:
                item = reader.to_score(row, law).item
                _check_new(item.result_ids(index), place, seen)
            except RowError as error:
                raise DataError(f"{place}: {error}") from None
            yield item


def _check_new(ids: list[str], place: str, seen: dict[str, str]) -> None:
    for id in ids:
        if id in seen:
            raise RowError(
                f"`id` is {id!r}, and {seen[id]} has the same; give each row an id of its own, or leave `id` out: then "
                "the index is the id"
            )
        seen[id] = place
