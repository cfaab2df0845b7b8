"""Reads training rows, prompts with their rubrics, from any kind of file and any format of rows.

Guarantees: the rubric travels in its row. A criterion's sign comes from the file or from the caller, and is never
guessed from its words. The same rows, seed and batch give the same order.
"""

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from trainer_client import wire
from trainer_client.data import reader
from trainer_client.data.files import sources
from trainer_client.data.formats import table
from trainer_client.data.reader import LENIENT, Law
from trainer_client.data.records import RowError
from trainer_client.errors import DataError
from trainer_client.scaffold import Message

Pitfalls = wire.Pitfalls


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt to train on. `source` names its data set; `documents` are for the judge alone."""

    id: str
    messages: tuple[Message, ...]
    rubric: wire.Rubric | None
    reference: str | None
    source: str
    documents: tuple[str, ...] = ()


def read_rows(*paths: str | Path, law: Law = LENIENT) -> Iterator[Row]:
    """Yields the rows of files or folders, in order; responses in them are ignored. Raises DataError at the first row
    that cannot be read."""
    with contextlib.closing(placed_rows(*paths, law=law)) as found:
        for _, row in found:
            yield row


def placed_rows(*paths: str | Path, law: Law = LENIENT) -> Generator[tuple[str, Row]]:
    """As `read_rows`, each row with the file and the line or row where it stands."""
    places: dict[str, str] = {}
    with contextlib.closing(_records(paths, law)) as found:
        for index, (name, place, record) in enumerate(found):
            try:
                row = _row(record, index, name, law)
                if row.id in places:
                    raise RowError(
                        f"`id` is {row.id!r}, and {places[row.id]} has the same; give each row an id of its own, or "
                        "leave `id` out: then the index is the id"
                    )
            except RowError as error:
                raise DataError(f"{place}: {error}") from None
            places[row.id] = place
            yield place, row


def _records(paths: Sequence[str | Path], law: Law) -> Generator[tuple[str, str, Any]]:
    """Each row with the name that its path gives to its data set, and with its place."""
    for path in paths:
        with contextlib.closing(sources.rows([path], None if law.strict else table.TRAINING_COLUMNS)) as found:
            for place, record in found:
                yield sources.stem(path), place, record


def _row(record: Any, index: int, name: str, law: Law) -> Row:
    read = reader.for_training(record, law)
    return Row(
        id=read.item.id or str(index),
        messages=_messages(read.item.prompt),
        rubric=read.item.rubric,
        reference=read.item.reference,
        source=read.source or name,
        documents=tuple(read.item.documents or ()),
    )


def _messages(prompt: str | list[wire.Message]) -> tuple[Message, ...]:
    if not isinstance(prompt, str) and (not prompt or prompt[-1].role == "assistant"):
        raise RowError("`prompt`: must end with a turn that the policy answers; take the last assistant turn off")
    return messages_of(prompt)


def messages_of(prompt: str | list[wire.Message]) -> tuple[Message, ...]:
    """The turns of a conversation as a row has them; a text is one turn of the user."""
    return (Message(role="user", content=prompt),) if isinstance(prompt, str) else tuple(map(_message, prompt))


def _message(turn: wire.Message) -> Message:
    message = Message(role=turn.role, content=turn.content)
    if turn.tool_calls:
        message["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in turn.tool_calls
        ]
    if turn.name is not None:
        message["name"] = turn.name
    return message


def training_order(rows: Sequence[Row], *, epochs: int, seed: int, batch: int = 1) -> list[Row]:
    """The rows of all epochs in the order of training: each epoch a permutation of its own, cut to whole batches. The
    first epochs of a longer training are a shorter one's."""
    size = len(rows) // batch * batch
    return [row for epoch in range(epochs) for row in Random(f"{seed}/{epoch}").sample(rows, len(rows))[:size]]
