"""Reads training rows, prompts with their rubrics, from JSON lines, RuscaRL/verl parquet or Rubrics-as-Rewards rows.

Guarantees: the rubric travels in its row. A criterion's sign comes from the file or from the caller, and is never
guessed from its words. The same rows, seed and batch give the same order.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from trainer_client import wire
from trainer_client.data import records
from trainer_client.data.records import RowError, Shape
from trainer_client.errors import DataError
from trainer_client.scaffold import Message

Pitfalls = Literal["met_is_good", "met_is_bad"]
"""The meaning of a criterion that begins with `Pitfall Criteria:` and is met. Most of RaR-Science describe good answers
("Does not ..."), most of RaR-Medicine describe faults; both have negative weights."""
_POLARITY: Mapping[Pitfalls, wire.Polarity] = {"met_is_good": "positive", "met_is_bad": "negative"}


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt to train on. `source` names its data set."""

    id: str
    messages: tuple[Message, ...]
    rubric: wire.Rubric | None
    reference: str | None
    source: str


def read_rows(path: str | Path, *, pitfalls: Pitfalls | None = None) -> Iterator[Row]:
    """Yields the rows of a `.jsonl` or `.parquet` file, in order; responses in it are ignored.

    `pitfalls` gives the pitfalls of RaR and verl rows their sign; where it is None, a pitfall that has negative points
    and no `polarity` of its own is an error. The points of POST /v1/score items are taken as they are. Raises DataError
    at the first row that cannot be read.
    """
    path = Path(path)
    places: dict[str, str] = {}
    found = records.rows(path)
    with contextlib.closing(found):
        for index, (place, record) in enumerate(found):
            try:
                row = _row(record, index, path.stem, pitfalls)
                if row.id in places:
                    raise RowError(
                        f"`id`: {places[row.id]} has the same; ids must be distinct (without one, the index is the id)"
                    )
            except RowError as error:
                raise DataError(f"{path}, {place}: {error}") from None
            places[row.id] = place
            yield row


def _row(record: Any, index: int, stem: str, pitfalls: Pitfalls | None) -> Row:
    shape, record = records.recognised(record)
    fields = {key: value for key, value in records.task(shape, record).items() if key != "group"}
    item = records.item(shape, fields | {"response": ""})
    return Row(
        id=item.id or _id(record) or str(index),
        messages=_messages(item.prompt),
        rubric=None if item.rubric is None else _signed(item.rubric, shape, pitfalls),
        reference=item.reference,
        source=_text(record.get("data_source")) or _text(record.get("question_source")) or stem,
    )


def _id(record: dict[str, Any]) -> str:
    return _text(record.get("id")) or _text(records.mapping(record.get("extra_info")).get("id"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _messages(prompt: str | list[wire.Message]) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message(role="user", content=prompt),)
    if not prompt or prompt[-1].role == "assistant":
        raise RowError("`prompt`: must end with a turn that the policy answers; take the last assistant turn off")
    return tuple(Message(role=turn.role, content=turn.content) for turn in prompt)


def _signed(rubric: wire.Rubric, shape: Shape, pitfalls: Pitfalls | None) -> wire.Rubric:
    """The rubric of a data set's row, with each category as a tag and a polarity for each pitfall."""
    if shape == "item":
        return rubric
    criteria = [_criterion(criterion, place, pitfalls) for place, criterion in enumerate(rubric.criteria)]
    return rubric.model_copy(update={"criteria": criteria})


def _criterion(criterion: wire.Criterion, place: int, pitfalls: Pitfalls | None) -> wire.Criterion:
    category = criterion.category
    if category is None:
        return criterion
    tags = {"category": category, **criterion.tags}
    polarity = criterion.polarity
    if category == "pitfall" and polarity is None:
        if pitfalls is None and criterion.points < 0:
            raise RowError(
                f"`rubric[{place}]` is a pitfall with negative points: some data sets describe a fault so, others how "
                "to avoid one; set `pitfalls: met_is_bad` or `met_is_good`, or give the criterion a `polarity`"
            )
        polarity = None if pitfalls is None else _POLARITY[pitfalls]
    return criterion.model_copy(update={"tags": tags, "polarity": polarity})


def training_order(rows: Sequence[Row], *, epochs: int, seed: int, batch: int = 1) -> list[Row]:
    """The rows of all epochs in the order of training: each epoch a permutation of its own, cut to whole batches. The
    first epochs of a longer training are a shorter one's."""
    size = len(rows) // batch * batch
    return [row for epoch in range(epochs) for row in Random(f"{seed}/{epoch}").sample(rows, len(rows))[:size]]
