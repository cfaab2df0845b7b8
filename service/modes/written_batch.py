"""Reads one JSON document with the verdicts of several criteria, each under its name: c1, c2 and so on. Pure.

Guarantees: a criterion has an entry only where its name stands once, with a whole object of the schema; what is wrong
about one entry is wrong about that criterion alone. What is cut off, or is no JSON any more, is wrong about those after
it; a second document behind the first is wrong about all.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from service.engine.base import Generation
from service.modes.written_verdict import VERDICT_FIELDS, document_up_to_verdict, is_text, verdict_schema
from service.prompting.renderer import criterion_name

_BLANKS = re.compile(r"[ \t\n\r]*")
_CUT = "the judge ran out of tokens before this criterion's verdict: raise `reasoned_tokens`, or leave `batch` out"
_NO_JSON = "the judge wrote something that is not JSON before it came to this criterion"
_MISSING = "the judge's document has no entry for this criterion"
_TWICE = "the judge's document has two entries for this criterion"
_NO_VERDICT = "the judge's entry for this criterion is no verdict"
_BROKEN = object()
_BEHIND = "the judge wrote more behind its document, so that none of its verdicts stands"


@lru_cache(maxsize=256)
def batch_schema(criteria: int, explanation_chars: int) -> str:
    """The JSON schema of a document with so many verdicts, its keys in order."""
    one = json.loads(verdict_schema(explanation_chars))
    names = [criterion_name(place) for place in range(criteria)]
    whole = {
        "type": "object",
        "properties": dict.fromkeys(names, one),
        "required": names,
        "additionalProperties": False,
    }
    return json.dumps(whole, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Entry:
    """What the judge wrote about the criterion at this place."""

    place: int
    explanation: str
    met: bool

    @property
    def opening(self) -> str:
        """The entry up to where its verdict's key stands."""
        return f'"{criterion_name(self.place)}": {document_up_to_verdict(self.explanation)}'

    @property
    def whole(self) -> str:
        return f'{self.opening}, "criteria_met": {json.dumps(self.met)}}}'


@dataclass(frozen=True, slots=True)
class WrittenBatch:
    """The entries in the order in which they were written, and why the others' criteria have none, by place."""

    entries: tuple[Entry, ...]
    why_not: Mapping[int, str]


@dataclass(slots=True)
class _Read:
    """The pairs of a document, and what ended it early."""

    pairs: list[tuple[str, Any]] = field(default_factory=list)
    broken: bool = False
    more: bool = False


def read_batch(generation: Generation, criteria: int) -> WrittenBatch:
    """What a document says about so many criteria. A name that is none of theirs is about none of them."""
    read = _pairs(generation.text)
    rest = _MISSING
    if not generation.finished:
        rest = _CUT
    elif read.broken:
        rest = _NO_JSON
    places = {criterion_name(place): place for place in range(criteria)}
    why_not = dict.fromkeys(range(criteria), _BEHIND if read.more else rest)
    if read.more:
        return WrittenBatch((), why_not)
    entries: dict[int, Entry] = {}
    seen: set[int] = set()
    for name, value in read.pairs:
        if (place := places.get(name)) is None:
            continue
        if place in seen:
            entries.pop(place, None)
            why_not[place] = _TWICE
        elif value is _BROKEN:
            pass  # the reason is what broke it
        elif _is_verdict(value):
            entries[place] = Entry(place, value["explanation"], value["criteria_met"])
        else:
            why_not[place] = _NO_VERDICT
        seen.add(place)
    return WrittenBatch(tuple(entries.values()), {place: why_not[place] for place in why_not if place not in entries})


def _is_verdict(value: Any) -> bool:
    if not isinstance(value, dict) or {key: type(one) for key, one in value.items()} != VERDICT_FIELDS:
        return False
    return is_text(value["explanation"])


class _Doubled:
    """An object in which a key stands twice. What it says is not known."""


def _distinct(pairs: list[tuple[str, Any]]) -> Any:
    return found if len(found := dict(pairs)) == len(pairs) else _Doubled()


def _pairs(text: str) -> _Read:
    """The pairs at the top of a document, up to where it stops to be one."""
    read = _Read()
    decoder = json.JSONDecoder(object_pairs_hook=_distinct)
    at = _after_blanks(text, 0)
    if text[at : at + 1] != "{":
        read.broken = True
        return read
    try:
        at = _after_blanks(text, at + 1)
        while text[at : at + 1] != "}" or read.pairs:
            name, at = decoder.raw_decode(text, at)
            at = _after_blanks(text, at)
            if not isinstance(name, str) or text[at : at + 1] != ":":
                raise ValueError("no key")
            read.pairs.append((name, _BROKEN))  # that its name stands here counts, also where its value is cut off
            value, at = decoder.raw_decode(text, _after_blanks(text, at + 1))
            read.pairs[-1] = name, value
            at = _after_blanks(text, at)
            if text[at : at + 1] != ",":
                break
            at = _after_blanks(text, at + 1)
        if text[at : at + 1] != "}":
            raise ValueError("no end")
    except (ValueError, RecursionError):
        read.broken = True
        return read
    read.more = _after_blanks(text, at + 1) != len(text)
    return read


def _after_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    assert found is not None
    return found.end()
