"""Fixes in raw criteria what is mechanical: prefixes of categories, blanks, tags, and copies of a criterion.

Pure. Raw criteria are objects as a file has them, in any of the shapes that the contract takes.

Guarantees: nothing else of a criterion changes, and fixing what is fixed changes nothing. A criterion is removed
where an earlier one is the same in everything but its id, so what a person must decide stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from trainer_client import wire
from trainer_client.lint import forms
from trainer_client.lint.repetition import said


@dataclass(frozen=True, slots=True)
class Fix:
    """`place` is the criterion's before anything was removed; `code` the rule that found it."""

    place: int
    code: str


def fixed(criteria: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Fix]]:
    """The fixed criteria, and what was done. Criteria that the contract refuses are left as they are."""
    kept: list[dict[str, Any]] = []
    fixes: list[Fix] = []
    seen: set[str] = set()
    for place, raw in enumerate(criteria):
        one = _read(raw)
        if one is None:
            kept.append(raw)
            continue
        raw, codes = _fixed(raw, one)
        fixes += [Fix(place, code) for code in codes]
        key = _identity(raw)
        if key in seen:
            fixes.append(Fix(place, "duplicate_text"))
        else:
            seen.add(key)
            kept.append(raw)
    return kept, fixes


def fixed_text(text: str) -> str:
    """The text with tidy blanks and a proper prefix."""
    tidy = forms.tidy_text(text)
    return forms.tidy_text(forms.proper_prefix(tidy) or tidy)


def _read(raw: dict[str, Any]) -> wire.Criterion | None:
    """Nulls are left out, as the readers of rows do."""
    try:
        return wire.Criterion.model_validate({name: value for name, value in raw.items() if value is not None})
    except ValidationError:
        return None


def _fixed(raw: dict[str, Any], one: wire.Criterion) -> tuple[dict[str, Any], list[str]]:
    codes: list[str] = []
    name = next((name for name in wire.TEXT_NAMES if raw.get(name) == one.text), None)
    if name is not None:
        text = one.text
        if forms.proper_prefix(forms.tidy_text(text)) is not None:
            codes.append("category_prefix")
        if one.verifier is None and forms.tidy_text(text) != text:
            codes.append("untidy_text")
        if codes and one.verifier is None:
            raw = {**raw, name: fixed_text(text)}
        elif codes:
            raw = {**raw, name: forms.proper_prefix(text) or text}
    tags = _fixed_tags(raw.get("tags"))
    if tags != raw.get("tags"):
        raw = {**raw, "tags": tags}
        codes.append("tag_form")
    return raw, codes


def _fixed_tags(tags: Any) -> Any:
    if isinstance(tags, dict) and all(isinstance(value, str) for value in tags.values()):
        return forms.tidy_tags(tags)
    if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
        return [_fixed_tag(tag) for tag in tags]
    return tags


def _fixed_tag(tag: str) -> str:
    name, colon, value = tag.partition(":")
    (tidy_name, tidy_value), *_ = forms.tidy_tags({name: value}).items()
    return f"{tidy_name}{colon}{tidy_value}"


def _identity(raw: dict[str, Any]) -> str:
    one = _read(raw)
    if one is None:
        return repr(raw)
    return repr((said(one.text).same, one.worth, sorted(one.tags.items()), one.verifier, one.options, one.extract))
