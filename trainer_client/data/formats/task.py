"""Defines what a format makes of a raw row, and the parts that several formats share: conversations and rubrics.

Guarantees: what carries meaning is passed on as it stands, so that the contract can refuse it; only what says nothing,
such as a null, is left out.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer_client import wire
from trainer_client.data.records import Raw, RowError, decoded, decoded_if_json, mapping


@dataclass(frozen=True, slots=True)
class Task:
    """What a row says, in the fields of an item. `used` names its columns that have been read; `responses` holds the
    field `response` or `responses` where the format has a place of its own for it."""

    prompt: Any
    rubric: Any
    used: tuple[str, ...]
    reference: Any = None
    documents: Any = None
    id: Any = None
    group: Any = None
    responses: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Format:
    """`columns` must all hold something in a row of this format, nested ones with a dot. `read` makes the task. `names`
    gives the place in the row for a field of an item, for errors."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[Raw], Task]
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def about(self) -> str:
        return f"{self.name} ({', '.join(f'`{column}`' for column in self.columns)})"


def held(row: Raw, column: str) -> bool:
    """Returns whether the column, or the nested value, holds something."""
    value: Any = row
    for part in column.split("."):
        value = mapping(value).get(part)
    return value is not None and value != "" and value != [] and value != {}


def conversation(value: Any) -> Any:
    """A prompt or a response as text or as turns. Turns may stand in the column as JSON text: then every one has a
    role."""
    turns = decoded_if_json(value)
    if not isinstance(turns, list) or not turns or not all(isinstance(one, dict) and "role" in one for one in turns):
        return value
    return [_turn(one) for one in turns]


def _turn(turn: Raw) -> Raw:
    kept = {key: value for key, value in turn.items() if value is not None}
    return {**kept, "content": None} if "tool_calls" in kept and "content" not in kept else kept


def rubric(value: Any, column: str) -> Any:
    """The rubric as the contract takes it, also where it stands in the column as JSON text."""
    value = decoded(value, column)
    _check_is_no_table(value, column)
    criteria = value.get("criteria") if isinstance(value, dict) else value
    if not isinstance(criteria, list):
        return value
    criteria = [_criterion(one) for one in criteria]
    return {**value, "criteria": criteria} if isinstance(value, dict) else criteria


def _check_is_no_table(value: Any, column: str) -> None:
    """Raises RowError for columns of criteria, as `datasets` makes them of a list of objects in a `Sequence`."""
    for name in ("text", "criterion", "description"):
        if isinstance(value, dict) and isinstance(value.get(name), list):
            raise RowError(
                f"`{column}` holds a list of each field, as `Sequence` of the datasets library makes it; write a list "
                "of criteria like {text, points}"
            )


def _criterion(one: Any) -> Any:
    if not isinstance(one, dict):
        return one
    kept = {key: value for key, value in one.items() if value is not None}
    if "id" in kept:
        kept["id"] = identity(kept["id"])
    if isinstance(kept.get("tags"), list):
        kept["tags"] = [tag for tag in kept["tags"] if tag is not None]
    if isinstance(kept.get("tags"), dict):
        kept["tags"] = {key: _tag(value) for key, value in kept["tags"].items() if value is not None}
    return kept


def _tag(value: Any) -> Any:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def identity(value: Any) -> Any:
    """An id as text, where it is a whole number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def reference(value: Any) -> Any:
    return None if value == "" else value


def documents(value: Any) -> Any:
    """A list of texts, also where it stands in the column as JSON text; an empty one says nothing."""
    found = decoded_if_json(value)
    return None if found in ("", []) else found


def category_of(rubric: wire.Rubric) -> wire.Rubric:
    """The rubric with each criterion's category as a tag, where its text names one. A stored rubric stays as it is."""
    if rubric.ref is not None:
        return rubric
    criteria = [
        one
        if one.category is None or "category" in one.tags
        else one.model_copy(update={"tags": {"category": one.category, **one.tags}})
        for one in rubric.criteria
    ]
    return rubric.model_copy(update={"criteria": criteria})
