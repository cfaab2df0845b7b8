"""Gives rows their rubric from another file: from the rows that they belong to, or one rubric for all of them.

Guarantees: a row that has a rubric keeps it. A row is joined by its id, by its equal conversation or, in verl's dumps,
by the one conversation that its rendered prompt holds; where none or several fit, it is refused.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trainer_client import wire
from trainer_client.data.formats import harbor, rollouts
from trainer_client.data.formats.table import has_rubric
from trainer_client.data.formats.task import conversation
from trainer_client.data.reader import Law
from trainer_client.data.records import Raw, RowError, shown
from trainer_client.data.rows import Row, messages_of, read_rows
from trainer_client.errors import DataError
from trainer_client.scaffold import Message

_IDS = ("id", "row")
_PROMPT: TypeAdapter[str | list[wire.Message]] = TypeAdapter(str | list[wire.Message])


class Rubrics:
    """The rubrics of a file of rows, or of a judge file in TOML."""

    def __init__(self, path: Path, law: Law) -> None:
        self._path = path
        self._common = harbor.rubric(path) if path.suffix == ".toml" else None
        rows = [] if self._common is not None else list(read_rows(path, law=law))
        if any(row.rubric is None for row in rows) or not (rows or self._common):
            raise DataError(f"{path}: its rows must all have a rubric, so that others can take theirs from them")
        self._by_id = {row.id: row for row in rows}
        # The longest first: a conversation may go on where another one ends.
        self._longest = sorted(rows, key=_characters, reverse=True)
        self._found: dict[str, Row] = {}

    def joined(self, row: Raw) -> Raw:
        """The row with its rubric, its prompt and its reference. Raises RowError."""
        if has_rubric(row):
            return row
        if _is_dump(row):
            rest = {key: value for key, value in row.items() if key not in ("input", "output")}
            own: Raw = {**rest, "response": row["output"], "prompt": row["input"]}
        else:
            own = row
        if self._common is not None:
            return {**own, "rubric": self._common}
        source = self._row_of(row)
        rubric = source.rubric.model_dump(by_alias=True, exclude_none=True) if source.rubric else None
        documents = {"documents": list(source.documents)} if source.documents else {}
        return {**own, **documents, "prompt": list(source.messages), "rubric": rubric, "reference": source.reference}

    def _row_of(self, row: Raw) -> Row:
        if _is_dump(row):
            text = row["input"]
            if text not in self._found:
                fits = [one for one in self._longest if _holds(text, one)]
                self._found[text] = self._one(
                    [one for one in fits if _characters(one) == _characters(fits[0])], "input", text
                )
            return self._found[text]
        for name in _IDS:
            if row.get(name) is not None:
                id = str(row[name])
                return self._one([self._by_id[id]] if id in self._by_id else [], name, id)
        prompt = conversation(row.get("prompt"))
        turns = _turns(prompt)
        return self._one([one for one in self._longest if one.messages == turns], "prompt", prompt)

    def _one(self, fits: Sequence[Row], name: str, value: Any) -> Row:
        if len(fits) == 1:
            return fits[0]
        several = "several rows" if fits else "no row"
        raise RowError(
            f"`{name}` is {shown(value)} and fits {several} of {self._path}; give the row the `id` of one of its rows"
        )


def _turns(prompt: Any) -> tuple[Message, ...] | None:
    """The turns of a conversation as rows have them; None where it is none."""
    try:
        return messages_of(_PROMPT.validate_python(prompt))
    except ValidationError:
        return None


def _is_dump(row: Raw) -> bool:
    return all(isinstance(row.get(name), str) for name in rollouts.FORMAT.columns[:2]) and "prompt" not in row


def _characters(row: Row) -> int:
    return sum(len(message["content"]) for message in row.messages)


def _holds(text: str, row: Row) -> bool:
    """Returns whether the text holds the turns of this row, one after the other."""
    at = 0
    for message in row.messages:
        at = text.find(message["content"], at)
        if at < 0:
            return False
        at += len(message["content"])
    return True
