"""Strict JSON: what is refused, where, and that everything else is read as `json` reads it."""

import json
import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_client.wire import json_text
from trainer_client.wire.json_text import JsonFault, Path, check_keys, read_json, structure, values_at_most

BIG = "[" + "0," * 21_000 + "0]"
"""As a value it makes a document one that is read by the decoder in Python."""


def fault(text: bytes | str) -> JsonFault:
    with pytest.raises(JsonFault) as raised:
        read_json(text)
    return raised.value


VALUES: list[tuple[str, Path, str]] = [
    ('{"points": 7, "points": -7}', ("points",), "twice"),
    (
        '{"items": [{}, {"rubric": [{"text": "a", "points": 1, "p\\u006fints": 2}]}]}',
        ("items", 1, "rubric", 0, "points"),
        "twice",
    ),
    ('{"a": {"b": 1, "b": {"c": 1, "c": 2}}}', ("a", "b"), "twice"),
    ('{"a": [NaN]}', ("a", 0), "finite"),
    ('{"a": {"b": -Infinity}}', ("a", "b"), "finite"),
    ("[1, 1e400]", (1,), "finite"),
    ('{"a": -1e309}', ("a",), "finite"),
    (f'{{"a": {"9" * 401}}}', ("a",), "digits"),
    (f'{{"a": [{"9" * 100_000}]}}', ("a", 0), "digits"),
]


@pytest.mark.parametrize(("text", "path", "why"), VALUES)
@pytest.mark.parametrize("large", [False, True])
def test_a_value_that_is_wrong_has_its_place(text: str, path: Path, why: str, large: bool) -> None:
    if large:
        text, path = f"[{BIG}, {text}]", (1, *path)
    found = fault(text)
    assert found.path == path
    assert why in str(found)


WHOLE: list[tuple[bytes, str]] = [
    (b"", "line 1"),
    (b"[1] 2", "line 1, column 5"),
    (b'{"a":\n 1,}', "line 2"),
    (b'"\\ud800"', "not valid JSON"),
    (b'"\\ud800\\u0041 and more"', "surrogate"),
    (b'"\x01"', "not valid JSON"),
    (b"\xff", "UTF-8 at byte 1"),
    ('{"a": 1}'.encode("utf-16"), "UTF-16"),
    ('{"a": 1}'.encode("utf-16-le"), "UTF-16"),
    ("[1]".encode("utf-16-be"), "UTF-16"),
    ("[1]".encode("utf-32"), "UTF-16 or UTF-32"),
    (b"[" * 300 + b"]" * 300, "too deep"),
    (b"[" * 1_000_000, "too deep"),
    (b'{"a":' * 100_000, "too deep"),
]


@pytest.mark.parametrize(("text", "why"), WHOLE)
def test_a_text_that_is_not_json_is_told_why(text: bytes, why: str) -> None:
    found = fault(text)
    assert found.path == ()
    assert why in str(found)


@pytest.mark.parametrize("text", [text for text, _ in WHOLE] + [b"[NaN, 1e400]", b'{"a": {"b": []}}'])
def test_keys_alone_are_checked_for_nothing_else(text: bytes) -> None:
    check_keys(text)
    with pytest.raises(JsonFault) as raised:
        check_keys(b'{"a": [NaN, {"b": 1, "b": 2}], "c": 1e400}')
    assert raised.value.path == ("a", 0)


def test_a_byte_order_mark_is_skipped_and_a_string_is_read_as_bytes_are() -> None:
    assert read_json(b'\xef\xbb\xbf{"a": [1, 2.5, "\xf0\x9f\x98\x80"]}') == read_json(
        '{"a": [1, 2.5, "\\ud83d\\ude00"]}'
    )
    assert "surrogate" in str(fault('"\ud800"'))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100)
@given(JSON, st.booleans(), st.booleans())
def test_everything_else_is_read_as_json_reads_it(document: Any, ascii_only: bool, large: bool) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only)
    if large:
        text = f"[{BIG}, {text}]"
    assert read_json(text.encode()) == json.loads(text)


def _twice(document: Any) -> str:
    """The document as text with its first key twice."""
    return f"{{{json.dumps(next(iter(document)))}: 0, {json.dumps(document)[1:]}"


@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=4), JSON, min_size=1, max_size=4), st.lists(st.booleans(), max_size=5))
def test_a_key_that_stands_twice_is_found_at_every_depth(document: Any, around: list[bool]) -> None:
    text, path = _twice(document), [next(iter(document))]
    for in_list in around:
        text, path = (f"[0, {text}]", [1, *path]) if in_list else (f'{{"x": 0, "y": {text}}}', ["y", *path])
    assert fault(text).path == tuple(path)


def test_values_are_counted_outside_of_strings() -> None:
    text = json.dumps(['a, b, [c], {d}, \\" e,'] * 100).encode()
    assert structure(text) > 600
    assert values_at_most(text, 100)
    assert not values_at_most(text, 99)
    assert not values_at_most(b"[" * 1000, 999)
    assert isinstance(values_at_most(b'"' * 999 + b"," * 9, 5), bool)


@settings(max_examples=60)
@given(st.lists(st.text('a,[{"\\\n', max_size=9), min_size=1, max_size=9), st.integers(1, 70_000))
def test_values_are_counted_across_windows(texts: list[str], length: int) -> None:
    """Strings that begin, end and are escaped anywhere around the ends of the windows in which they are looked at."""
    document = [*texts, "a" * length, *(["x", "y,", '"'] * (30_000 // length + 1)), "b" * 70_000, *texts, "," * 999]
    text = json.dumps(document).encode()
    assert values_at_most(text, len(document))
    assert not values_at_most(text, len(document) - 1)


def test_other_threads_run_while_a_large_document_is_read() -> None:
    """200,000 values in one C call would hold the lock of the interpreter for their whole time."""
    text = json.dumps({f"k{n}": [] for n in range(100_000)}).encode()
    reading = threading.Thread(target=read_json, args=(text,))
    reading.start()
    turns = 0
    while reading.is_alive():
        time.sleep(0)
        turns += 1
    assert turns > 5
    assert structure(text) > json_text.SLICED_FROM
