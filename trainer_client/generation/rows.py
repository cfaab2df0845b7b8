"""Reads what rubrics are to be written for: prompts, with a reference or with a preferred and a rejected answer.

Guarantees: rows are read by the law of all commands, but a rubric that a row has already is not needed and not used. A
pair is read only where the row says which answer is preferred; nothing is guessed from its order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.data import reader
from trainer_client.data.files import sources
from trainer_client.data.formats import table
from trainer_client.data.formats.task import identity, reference
from trainer_client.data.preferred import pair_of, prompt_of_pair
from trainer_client.data.reader import Law
from trainer_client.data.records import Raw, RowError, mapping
from trainer_client.data.rows import messages_of
from trainer_client.errors import DataError
from trainer_client.scaffold import Message

_REFERENCES = ("reference", "reference_answer", "ideal_completion", "answer")
_SOURCES: tuple[str, ...] = ("data_source", "question_source", "dataset")


@dataclass(frozen=True, slots=True)
class Source:
    """A row to write a rubric for. `pair` is the preferred answer and the rejected one; `documents` are for the judge,
    and whoever writes the rubric does not see them."""

    id: str
    place: str
    messages: tuple[Message, ...]
    reference: str | None
    pair: tuple[str, str] | None
    source: str
    documents: list[str] | None = None


def read_sources(paths: Sequence[str | Path], *, pairs: bool, most: int | None, law: Law) -> list[Source]:
    """The first `most` rows, each with a pair where `pairs`. Raises DataError at the first that cannot be read."""
    found: list[Source] = []
    places: dict[str, str] = {}
    for index, (place, raw) in enumerate(_records(paths, most)):
        try:
            one = _source(raw, index, place, pairs, law)
            if one.id in places:
                raise RowError(f"`id` is {one.id!r}, and {places[one.id]} has the same; give each row an id of its own")
        except RowError as error:
            raise DataError(f"{place}: {error}") from None
        places[one.id] = place
        found.append(one)
    if not found:
        raise DataError(f"{', '.join(map(str, paths))}: holds no rows")
    return found


def _records(paths: Sequence[str | Path], most: int | None) -> Iterator[tuple[str, Any]]:
    records = sources.rows(paths)
    try:
        for number, record in enumerate(records):
            if number == most:
                return
            yield record
    finally:
        records.close()


def _source(raw: Any, index: int, place: str, pairs: bool, law: Law) -> Source:
    row = table.unpacked(raw)
    pair = pair_of(row, may_be_empty=False) if pairs else None
    read = reader.for_training(_with_prompt(row), law)
    prompt = read.item.prompt
    if not isinstance(prompt, str) and (not prompt or prompt[-1].role == "assistant"):
        raise RowError("`prompt`: must end with a turn that is to be answered; take the last assistant turn off")
    return Source(
        id=read.item.id or str(index),
        place=place,
        messages=messages_of(prompt),
        reference=read.item.reference or _ideal(row),
        documents=read.item.documents,
        pair=pair,
        source=read.source,
    )


def _ideal(row: Raw) -> str | None:
    """The physicians' answer of a row of HealthBench."""
    ideal = mapping(row.get("ideal_completions_data")).get("ideal_completion")
    return ideal if isinstance(ideal, str) and wire.says_something(ideal) else None


def _with_prompt(row: Raw) -> Raw:
    """The row as one that a format reads. Without a rubric the conversation and the reference may have any of the names
    that formats have for them, and the conversation may stand in a pair alone."""
    if table.has_rubric(row):
        return row
    name = next((one for one in table.CONVERSATIONS if row.get(one) is not None), None)
    prompt = row[name] if name is not None else prompt_of_pair(row)
    if prompt is None:
        raise RowError(f"no `prompt`; its columns are {', '.join(f'`{one}`' for one in list(row)[:12]) or 'none'}")
    known = next((row[one] for one in _REFERENCES if isinstance(row.get(one), str)), None)
    kept = {name: row[name] for name in (*_SOURCES, "documents") if name in row}
    return {**kept, "prompt": prompt, "reference": reference(known), "id": identity(row.get("id"))}
