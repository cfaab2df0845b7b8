"""Joins the verdicts of a log with the criteria of its rubric.

Guarantees: a verdict is joined to the criterion with its id, or to the one at its place where the rubric gives no ids.
A rubric that is not valid, and a verdict with a field of another kind than the service answers, is an error that names
the place.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from trainer_client import wire
from trainer_client.errors import DataError
from trainer_client.rollouts.logged import LoggedVerdict

_RUBRICS = 4096
_NUMBERS = ("p", "p_raw", "points", "value")
_TEXTS = ("text", "status", "source", "explanation", "fingerprint", "detail", "extracted")


def rubric(value: Any, place: str) -> wire.Rubric | None:
    """The rubric of a log: {"criteria": […]} or a list of criteria. Equal ones are one object. Raises DataError."""
    if value is None or value == []:
        return None
    try:
        return _rubric(json.dumps(value, ensure_ascii=False))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "rubric"
        raise DataError(f"{place}: the rubric is not valid: {where}: {first['msg']}") from None


@lru_cache(_RUBRICS)
def _rubric(text: str) -> wire.Rubric:
    return wire.Rubric.model_validate(json.loads(text))


def joined(
    said: Sequence[Mapping[str, Any]], of: wire.Rubric | None, fingerprint: str | None, place: str
) -> tuple[LoggedVerdict, ...]:
    """The verdicts in the order of the log. Raises DataError for one without an id."""
    criteria = {} if of is None else _by_id(of)
    found = []
    for one in said:
        if not isinstance(one, Mapping) or not isinstance(one.get("id"), str):
            raise DataError(f"{place}: a verdict has no `id`; it must be an object as the service answers it")
        _check(one, place)
        found.append(_joined(one, criteria.get(one["id"]), fingerprint))
    return tuple(found)


def _check(one: Mapping[str, Any], place: str) -> None:
    """Raises DataError for a field of another kind."""
    for name in _NUMBERS:
        if (value := one.get(name)) is not None and not is_number(value):
            raise DataError(f"{place}: `{name}` of verdict {one['id']} is neither a number nor null")
    for name in _TEXTS:
        if not isinstance(one.get(name), str | None):
            raise DataError(f"{place}: `{name}` of verdict {one['id']} is neither a text nor null")
    if not isinstance(one.get("met"), bool | None):
        raise DataError(f"{place}: `met` of verdict {one['id']} is neither true, false nor null")
    level = one.get("level")
    if level is not None and (type(level) is not int or level < 0):
        raise DataError(f"{place}: `level` of verdict {one['id']} is no place of a level, counted from 0")
    for name in ("p_levels", "p_levels_raw"):
        if (value := one.get(name)) is not None and not (isinstance(value, list) and all(map(is_number, value))):
            raise DataError(f"{place}: `{name}` of verdict {one['id']} is no list of numbers")
    if not isinstance(one.get("tags") or {}, Mapping):
        raise DataError(f"{place}: `tags` of verdict {one['id']} is no object")
    members = one.get("members") or []
    if not isinstance(members, list) or not all(map(_is_member, members)):
        raise DataError(f"{place}: `members` of verdict {one['id']} are not judges with `met` and `p`")


def is_number(value: Any) -> bool:
    """Whether it is one that a float can hold."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _is_member(told: Any) -> bool:
    if not isinstance(told, Mapping) or not isinstance(told.get("met"), bool | None):
        return False
    return (told.get("p") is None or is_number(told["p"])) and isinstance(told.get("status"), str | None)


def _joined(one: Mapping[str, Any], criterion: wire.Criterion | None, fingerprint: str | None) -> LoggedVerdict:
    points = one.get("points")
    return LoggedVerdict(
        id=one["id"],
        text=one.get("text") or (None if criterion is None else criterion.judged_text),
        points=float(points) if points is not None else None if criterion is None else criterion.worth,
        tags=one.get("tags") or ({} if criterion is None else criterion.tags),
        status=one.get("status") or (None if one.get("met") is None else "ok"),
        met=one.get("met"),
        p=one.get("p"),
        p_raw=one.get("p_raw"),
        source=one.get("source"),
        explanation=one.get("explanation"),
        fingerprint=one.get("fingerprint") or fingerprint,
        detail=one.get("detail"),
        level=one.get("level"),
        p_levels=one.get("p_levels"),
        p_levels_raw=one.get("p_levels_raw"),
        value=one.get("value"),
        levels=() if criterion is None else tuple(level.text for level in criterion.options),
        level_values=() if criterion is None else tuple(level.value for level in criterion.options),
        extracted=one.get("extracted"),
        members=tuple(one.get("members") or ()),
    )


def _by_id(of: wire.Rubric) -> dict[str, wire.Criterion]:
    return {one.id or str(place): one for place, one in enumerate(of.criteria)}
