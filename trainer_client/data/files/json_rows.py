"""Reads rows of JSON: one object a line, or a whole document that is a list of objects or a single one.

Guarantees: lines are read one by one, as the caller takes them; a document is held as a whole. A key that stands twice
in one object is an error.
"""

from collections.abc import Generator, Iterable
from typing import IO, Any

from trainer_client import wire
from trainer_client.data import records
from trainer_client.errors import DataError


def lines(name: str, file: Iterable[bytes]) -> Generator[tuple[str, Any]]:
    """`name` is the file's, for errors. Yields place and row."""
    for number, line in enumerate(file, start=1):
        if line.strip():
            place = f"{name}, line {number}"
            yield place, _read(place, line, "a line must hold one whole JSON object, in UTF-8")


def document(name: str, file: IO[bytes]) -> Generator[tuple[str, Any]]:
    """A document, or lines in a file that is named like one."""
    text = file.read()
    first, _, rest = text.lstrip().partition(b"\n")
    if rest.strip() and first.rstrip().endswith(b"}") and first.startswith((b"{", b"\xef\xbb\xbf{")):
        yield from lines(name, text.splitlines())
        return
    found = _read(name, text, "the file must hold a list of objects, or an object a line, in UTF-8")
    if not isinstance(found, list):
        yield name, found
        return
    for number, row in enumerate(found):
        yield f"{name}, row {number} (the first is row 0)", row


def _read(place: str, text: bytes, hint: str) -> Any:
    try:
        return wire.read_json(text)
    except wire.JsonFault as fault:
        if fault.path:
            raise DataError(f"{place}: `{records.place(*fault.path)}`: {fault}") from None
        problem = str(fault).replace("not valid JSON at line 1,", "not JSON at").replace("not valid JSON", "not JSON")
        raise DataError(f"{place}: {problem}; {hint}") from None
