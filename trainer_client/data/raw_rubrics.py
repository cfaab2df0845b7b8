"""Finds the rubric in a raw row, wherever its format keeps it, and puts an edited one in its place. Pure.

Guarantees: every copy of the rubric in a row is edited alike, also in a column of JSON text; everything else in the row
stays as it is, and a row that the edit leaves alone is returned unchanged. The caller's row is not changed.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from trainer_client import wire
from trainer_client.data.records import Raw

Edit = Callable[[list[Raw]], list[Raw]]
_PLACES = frozenset(
    {"rubric", "rubrics", "criteria", "reward_model", "extra_info", "ground_truth", "row", "item", "prompt", "metadata"}
)
"""Names under which formats keep a rubric, or what holds one."""


def with_criteria(row: Any, edit: Edit) -> Any:
    """The row with `edit` applied to each of its lists of criteria. A row may itself be such a list."""
    if isinstance(row, dict):
        return _of_object(row, edit)
    return _edited(row, edit)


def text_name(one: Raw) -> str | None:
    """Under which name a raw criterion has its text."""
    return next((name for name in wire.TEXT_NAMES if isinstance(one.get(name), str)), None)


def points_name(one: Raw) -> str | None:
    return next((name for name in wire.POINTS_NAMES if _is_number(one.get(name))), None)


def _of_object(held: Raw, edit: Edit) -> Raw:
    found = {name: _edited(value, edit) if name in _PLACES else value for name, value in held.items()}
    if all(found[name] is held[name] for name in held):
        return held
    # Other criteria are no longer the stored rubric that `ref` names.
    return {
        name: value for name, value in found.items() if name != "ref" or found.get("criteria") is held.get("criteria")
    }


def _edited(value: Any, edit: Edit) -> Any:
    if isinstance(value, str):
        return _of_text(value, edit)
    if isinstance(value, dict):
        return _of_object(value, edit)
    if not isinstance(value, list):
        return value
    if _are_criteria(value):
        new = edit(value)
        return value if new == value else new
    found = [_edited(one, edit) for one in value]
    return value if all(new is old for new, old in zip(found, value, strict=True)) else found


def _of_text(text: str, edit: Edit) -> str:
    """JSON text is written again only where something in it was edited."""
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        return text
    found = _edited(held, edit)
    return text if found is held else json.dumps(found, ensure_ascii=False)


def _are_criteria(value: Sequence[Any]) -> bool:
    return bool(value) and all(isinstance(one, dict) and text_name(one) and points_name(one) for one in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
