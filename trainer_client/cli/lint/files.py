"""Reads the rubrics of files for `rubricd lint`, fixes them where asked, and writes the fixed rows.

Guarantees: equal rubrics with equal references are one. A row keeps everything that is not fixed, and the file that
was read stays as it is unless the caller names it as the one to write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.data import raw_rubrics, reader
from trainer_client.data.files import sources, written
from trainer_client.data.formats import harbor, table
from trainer_client.data.reader import Law
from trainer_client.data.records import RowError
from trainer_client.errors import DataError
from trainer_client.lint.fixing import Fix, fixed


@dataclass(frozen=True, slots=True)
class Placed:
    """A rubric with its reference, the place where it first stands, and how many more rows have it."""

    rubric: wire.Rubric
    reference: str | None
    place: str
    id: str
    more: int = 0


@dataclass(frozen=True, slots=True)
class FixedRow:
    """A row after fixing, and what was done."""

    place: str
    row: Any
    fixes: tuple[Fix, ...]


def fixed_rows(file: Path) -> list[FixedRow]:
    """Raises DataError for a file that cannot be read."""
    return [_fixed_row(place, raw) for place, raw in sources.rows([file])]


def _fixed_row(place: str, raw: Any) -> FixedRow:
    # Copies of a rubric in one row are fixed alike, and told once.
    fixes: dict[Fix, None] = {}

    def edit(criteria: list[dict[str, Any]]) -> list[dict[str, Any]]:
        new, done = fixed(criteria)
        fixes.update(dict.fromkeys(done))
        return new

    return FixedRow(place, raw_rubrics.with_criteria(raw, edit), tuple(fixes))


def write(out: Path, rows: Sequence[FixedRow], like: Path) -> None:
    written.write_rows(out, [one.row for one in rows], like=like)


def distinct(found: Iterator[tuple[str, Any]], law: Law) -> list[Placed]:
    """The rubrics of rows, each once. Raises DataError, also for a row without a rubric."""
    seen: dict[str, Placed] = {}
    for index, (place, raw) in enumerate(found):
        one = _read(place, raw, index, law)
        key = f"{one.rubric.model_dump_json(by_alias=True)}{one.reference}"
        first = seen.get(key)
        seen[key] = one if first is None else replace(first, more=first.more + 1)
    return list(seen.values())


def raw_rows(files: Sequence[Path]) -> Iterator[tuple[str, Any]]:
    """Place and content of each row; of files with columns those that a rubric needs."""
    for file in files:
        if file.suffix == ".toml":
            yield str(file), {"id": file.stem, "prompt": "", "rubric": harbor.rubric(file)}
        else:
            yield from sources.rows([file], table.TRAINING_COLUMNS)


def _read(place: str, raw: Any, index: int, law: Law) -> Placed:
    if isinstance(raw, list) or (isinstance(raw, dict) and isinstance(raw.get("criteria"), list) and "id" not in raw):
        raw = {"prompt": "", "rubric": raw}  # a rubric alone, as generators write it
    try:
        item = reader.for_training(raw, law).item
    except RowError as error:
        raise DataError(f"{place}: {error}") from None
    if item.rubric is None:
        raise DataError(f"{place}: no `rubric`; give the row one, or leave it out")
    return Placed(item.rubric, item.reference, place, item.id or str(index))
