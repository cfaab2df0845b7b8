"""Reads JSON strictly: a key that stands twice, a number that is not finite and text that is not Unicode are faults.

Guarantees: a fault of a value has its place. What is read has finite numbers, distinct keys, strings that are Unicode,
and at most about 300 levels. A byte order mark of UTF-8 is skipped; UTF-16 and UTF-32 are named as what is wrong.
`json.JSONDecoder` reads `"points": 7, "points": -7` as -7, and so does pydantic.
"""

import json
import json.scanner
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

Path = tuple[str | int, ...]

MAX_DIGITS = 400
"""The largest float has 309 digits before its point."""
SLICED_FROM = 20_000
"""A text with more commas and brackets than this is read by the decoder in Python: it is slower, and lets other threads
run every few milliseconds, which the decoder in C does not: it takes 10 ms for so many."""
_WINDOW_BYTES = 65_536
SMALL_BYTES = 16_384
"""A text of this size is read within a millisecond, whatever is in it: nothing in it needs to be counted before."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BOM = b"\xef\xbb\xbf"
_OTHER_ENCODINGS = (b"\xff\xfe", b"\xfe\xff", b"\x00", b"{\x00", b"[\x00")


class JsonFault(ValueError):
    """A text is not JSON as it is read here. `path` leads to the value that is wrong; it is empty for the whole text.
    The message holds nothing of the text."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class _Wrong:
    """Stands in a decoded document for a value that is wrong."""

    message: str
    key: str | None = None


class _Refused(Exception):
    """The fast decoder met a value that is wrong. The locating one finds its place."""


def structure(text: bytes) -> int:
    """Commas and opening brackets, of strings too: as many as there are values, or more."""
    return len(text) - len(text.translate(None, b",[{"))  # half the time of three counts


def values_at_most(text: bytes, limit: int) -> bool:
    """Returns whether the document has at most so many values, counted by commas and brackets outside of strings. For a
    text that is not JSON it returns anything."""
    if structure(text) <= limit:
        return True
    found, at = 0, 0
    while at < len(text) and found <= limit:
        window = text[at : at + _WINDOW_BYTES]  # in pieces, so that other threads run
        outside, quote, cut_off = _STRING.sub(b"", window).partition(b'"')
        found += structure(outside)
        at += len(window)
        if quote:  # the last string goes on after the window
            string = _STRING.match(text, at - 1 - len(cut_off))
            if string is None:
                return True
            at = string.end()
    return found <= limit


def read_json(text: bytes | str, values: int | None = None) -> Any:
    """The document. Raises JsonFault. `values` is its `structure`, where that is known."""
    raw = _utf8(text)
    sliced = len(raw) > SMALL_BYTES and (structure(raw) if values is None else values) > SLICED_FROM
    try:
        decoded = raw.decode()
    except UnicodeDecodeError as error:
        raise JsonFault(f"not UTF-8 at byte {error.start + 1}") from None
    try:
        if not sliced or b"\\ud" in raw or b"\\uD" in raw:
            from_json(raw, cache_strings="none")  # knows lone surrogates, and what is nested too deep for C
        return (_sliced if sliced else _fast).decode(decoded)
    except _Refused:
        raise _located(decoded) from None
    except json.JSONDecodeError as error:
        raise _syntax(error) from None
    except RecursionError:
        raise JsonFault("nested too deep") from None
    except ValueError as error:
        if "out of range" in str(error):
            raise _located(decoded) from None
        raise JsonFault(_reason(str(error))) from None


def check_keys(text: bytes) -> None:
    """Raises JsonFault for a key that stands twice, and for nothing else: for a text that a strict model reads next. Of
    numbers, of which an answer has many, it costs half of `read_json`."""
    try:
        _keys.decode(text.decode())
    except _Refused:
        raise _located(text.decode()) from None
    except (ValueError, RecursionError):
        return


def _syntax(error: json.JSONDecodeError) -> JsonFault:
    return JsonFault(f"not valid JSON at line {error.lineno}, column {error.colno}")


def _utf8(text: bytes | str) -> bytes:
    if isinstance(text, str):
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise JsonFault("a lone surrogate is no text") from None
    if not isinstance(text, bytes):
        raise TypeError(f"JSON is text or bytes, not {type(text).__name__}")
    if text.startswith(_OTHER_ENCODINGS):
        raise JsonFault("not UTF-8 but UTF-16 or UTF-32; send UTF-8")
    text = text.removeprefix(_BOM)
    return text


def _reason(found: str) -> str:
    """The reason of `from_json` in words that are the same whoever finds it."""
    if "recursion" in found:
        return "nested too deep"
    if "surrogate" in found:
        return "a lone surrogate is no text"
    _, at, place = found.rpartition(" at line ")
    return f"not valid JSON at line {place.replace(' column', ', column')}" if at else "not valid JSON"


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused
    return found


def _number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _Refused
    return number


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _Refused
    return int(digits)


def _constant(name: str) -> Any:
    raise _Refused


class _Locating:
    """The same hooks, which leave a mark instead."""

    @staticmethod
    def distinct(pairs: list[tuple[str, Any]]) -> Any:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                return _Wrong("this key stands twice in one object; keep one", key)
            seen.add(key)
        return dict(pairs)

    @staticmethod
    def number(digits: str) -> Any:
        number = float(digits)
        return _Wrong("no finite number") if math.isinf(number) else number

    @staticmethod
    def integer(digits: str) -> Any:
        return _Wrong(f"a number of more than {MAX_DIGITS} digits") if len(digits) > MAX_DIGITS else int(digits)

    @staticmethod
    def constant(name: str) -> Any:
        return _Wrong("no finite number")


def _decoder(hooks: Any, *, sliced: bool = False) -> json.JSONDecoder:
    distinct, number, integer, constant = hooks
    decoder = json.JSONDecoder(
        object_pairs_hook=distinct, parse_float=number, parse_int=integer, parse_constant=constant
    )
    if sliced:
        decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    return decoder


_REFUSING = (_distinct, _number, _integer, _constant)
_MARKING = (_Locating.distinct, _Locating.number, _Locating.integer, _Locating.constant)
_fast, _sliced = _decoder(_REFUSING), _decoder(_REFUSING, sliced=True)
_keys = json.JSONDecoder(object_pairs_hook=_distinct)
_marking = _decoder(_MARKING, sliced=True)


def _located(decoded: str) -> JsonFault:
    """The first fault of the document. It is there: the other decoder has met it."""
    try:
        document = _marking.decode(decoded)
    except json.JSONDecodeError as error:
        return _syntax(error)
    except RecursionError:
        return JsonFault("nested too deep")
    path, wrong = next(_marks(document))
    return JsonFault(wrong.message, path if wrong.key is None else (*path, wrong.key))


def _marks(document: Any) -> Iterator[tuple[Path, _Wrong]]:
    """In the order of the document, without recursion."""
    left: list[tuple[Path, Any]] = [((), document)]
    while left:
        path, value = left.pop()
        if isinstance(value, _Wrong):
            yield path, value
        elif isinstance(value, dict):
            left.extend(reversed([((*path, key), inner) for key, inner in value.items()]))
        elif isinstance(value, list):
            left.extend(reversed([((*path, place), inner) for place, inner in enumerate(value)]))
