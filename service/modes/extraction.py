"""Asks for a value that a response states, as a JSON document of a schema, and reads it. Pure.

Guarantees: a value that the response does not state is none: whatever the judge wrote out of itself is Unparseable, and
so no rule ever compares it. A response without a letter or a digit states nothing, and the judge is not asked.
"""

import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property, lru_cache
from typing import Any

from service.engine.base import EngineResult, Generation, GenerationQuery, Prompt, Sampling
from service.errors import Unparseable
from service.modes.fingerprint import JudgeIdentity
from service.rubrics.rubric import Candidate, Extraction

MOST_CHARACTERS, MOST_ITEMS = 1_000, 32
MAX_TOKENS = 512
_NUMBER = re.compile(r"\d[\d,]*\.?\d*(?:[eE][+-]?\d{1,3})?|\.\d+")
_FRACTION = re.compile(r"(\d{1,30})\s*/\s*(\d{1,30})|\\d?frac\s*\{(\d{1,30})\}\s*\{(\d{1,30})\}")
_OTHER = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Extracted:
    """What the judge copied out of a response, as the text that a rule looks at; None where the response states no
    such value."""

    value: str | None

    @property
    def label_mass(self) -> None:
        """No label was read."""
        return None


@dataclass(frozen=True, slots=True)
class ExtractReading:
    """How this judge is asked for values; `judge` names the prompt."""

    judge: JudgeIdentity

    def query(self, prompt: Prompt, extraction: Extraction) -> GenerationQuery:
        schema = value_schema(extraction.kind, extraction.choices)
        return GenerationQuery(prompt, Sampling(max_tokens=MAX_TOKENS, json_schema=schema))


@lru_cache(maxsize=256)
def value_schema(kind: str, choices: tuple[str, ...]) -> str:
    """The JSON schema of the judge's document: a value of the kind, or null."""
    text = {"type": "string", "maxLength": MOST_CHARACTERS}
    kinds: dict[str, dict[str, Any]] = {
        "number": {"type": "number"},
        "integer": {"type": "integer"},
        "string": text,
        "date": {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
        "choice": {"enum": list(choices)},
        "list": {"type": "array", "items": text, "maxItems": MOST_ITEMS},
    }
    document = {
        "type": "object",
        "properties": {"value": {"anyOf": [kinds[kind], {"type": "null"}]}},
        "required": ["value"],
        "additionalProperties": False,
    }
    return json.dumps(document, separators=(",", ":"))


def states_nothing(candidate: Candidate) -> bool:
    """Whether no value of any kind can stand in what the assistant said."""
    return not any(map(str.isalnum, candidate.said))


def read_value(result: EngineResult, extraction: Extraction, candidate: Candidate) -> Extracted:
    """Raises Unparseable for anything but a whole document with a value that the response states."""
    if not isinstance(result, Generation):
        raise Unparseable("the engine wrote nothing")
    if not result.finished:
        raise Unparseable("the judge ran out of tokens before its value ended")
    try:
        document = json.loads(result.text, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError, InvalidOperation):
        raise Unparseable("the judge wrote something that is not JSON") from None
    if not isinstance(document, dict) or set(document) != {"value"}:
        raise Unparseable("the judge wrote a JSON document without a value")
    value = document["value"]
    if value is None or value == []:
        return Extracted(None)
    parts = value if extraction.kind == "list" else [value]
    if not isinstance(parts, list) or not all(_of_kind(extraction, part) for part in parts):
        raise Unparseable(f"the judge wrote a value that is no {extraction.kind}")
    said = Said(candidate.said)
    if not all(states(said, extraction.kind, str(part)) for part in parts):
        raise Unparseable("the judge wrote a value that the response does not state")
    return Extracted(", ".join(map(str, parts)))


def _of_kind(extraction: Extraction, value: Any) -> bool:
    if extraction.kind in ("number", "integer"):
        whole = isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) <= 300
        return whole and (extraction.kind == "number" or value == value.to_integral_value())
    if not isinstance(value, str) or not value.strip():
        return False
    if extraction.kind == "choice":
        return value in extraction.choices
    return extraction.kind != "date" or re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) is not None


@dataclass(frozen=True)
class Said:
    """What the assistant said, and its words as they are compared. A list has many values: the words are made once."""

    text: str

    @cached_property
    def words(self) -> str:
        return _words_of(self.text)


def states(said: Said, kind: str, value: str) -> bool:
    """Whether it holds the value: a number in any common notation, signs aside; the year and the day of a date; a text
    but for its case, white space and markup; a single letter as it is."""
    if kind in ("number", "integer"):
        return abs(Decimal(value)) in _numbers(said.text)
    if kind == "date":
        year, _, day = value.split("-")
        found = _numbers(said.text.replace("-", " "))
        return Decimal(day) in found and (Decimal(year) in found or Decimal(year[2:]) in found)
    if len(value.strip()) == 1:
        return _stands_in(value.strip(), said.text)
    words = _words_of(value).strip()
    return _stands_in(words, said.words) if words else value.strip() in said.text


def _words_of(text: str) -> str:
    return _OTHER.sub(" ", text.casefold())


def _stands_in(value: str, text: str) -> bool:
    """Whether it stands there by itself, and not inside of a longer word or number."""
    before = r"(?<![A-Za-z0-9])" if value[0].isascii() and value[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if value[-1].isascii() and value[-1].isalnum() else ""
    return re.search(before + re.escape(value) + after, text) is not None


def _numbers(text: str) -> set[Decimal]:
    found: set[Decimal] = set()
    for written in _NUMBER.findall(text):
        try:
            found.add(Decimal(written.replace(",", "")))
        except InvalidOperation:
            continue
    for match in _FRACTION.finditer(text):
        above, below = (Decimal(part) for part in match.groups() if part is not None)
        if below:
            found.add(above / below)
    return found
