"""Holds what every format of rows needs: the error of one row, JSON that stands in a column as text, names of values.

Guarantees: an error of a row says what is there and what to write; the caller adds file and place.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from trainer_client import wire
from trainer_client.errors import DataError

Raw = dict[str, Any]
"""A row as its file holds it."""

_SHOWN = 40


class RowError(Exception):
    """One row cannot be used, and why. The caller knows the place of the row."""


def mapping(value: Any) -> Raw:
    return value if isinstance(value, dict) else {}


def decoded(value: Any, field: str) -> Any:
    """The value, also where it stands in the column as JSON text. Raises RowError for a text that is not JSON."""
    if not isinstance(value, str) or not value.strip():
        return value
    try:
        return wire.read_json(value)
    except wire.JsonFault as fault:
        if fault.path:
            raise RowError(f"`{place(field, *fault.path)}`: {fault}") from None
        raise RowError(f"`{field}` is {shown(value)}; write a list or an object, or the same as JSON text") from None


def decoded_if_json(value: Any) -> Any:
    """As `decoded`, but a text that is not JSON of a list or an object is left as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return wire.read_json(value)
    except wire.JsonFault:
        return value


def check_names(file: str, names: Sequence[str]) -> None:
    """Raises DataError for a column that is there twice: a row would have the last one, whichever was meant."""
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise DataError(f"{file}: has two columns `{twice}`; rename one of them, or leave it out")


def place(*parts: str | int) -> str:
    """The name of a nested value, such as `rubric[0].points`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def without_nulls(value: Any) -> Any:
    """Leaves out nulls: a parquet row has every field of its schema, and those that it does not use are null."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


def shown(value: Any) -> str:
    """What is there, in a few words."""
    if isinstance(value, str):
        return f"the text {value[:_SHOWN]!r}{'...' if len(value) > _SHOWN else ''}" if value else "empty"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, dict):
        names = ", ".join(f"`{name}`"[:_SHOWN] for name in list(value)[:4])
        return f"an object with {names}" if value else "an empty object"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value)[:_SHOWN]


def as_json(value: Any) -> Any:
    """The value as JSON can hold it: dates and the like as text. Bytes become their number."""
    if isinstance(value, dict):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
