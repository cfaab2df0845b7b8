"""Links the lines of a ledger: each ends in a digest of itself and of the line before.

Guarantees: whoever changes, removes or inserts a line changes the digest of every later one. The digest is over the
bytes as they stand in the file, so that no program has to write JSON in the same way to check it.
"""

import hashlib
import json
import re
from typing import Any

CHAIN_DIGITS = 32
NOTHING = "0" * CHAIN_DIGITS
"""What the first line of all follows."""
_as_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_END = re.compile(rb',"chain":"([0-9a-f]{32})"}\Z')


def sealed(line: dict[str, Any], before: str) -> tuple[bytes, str]:
    """The line as bytes, without an end of line, and its link."""
    text = _as_json(line).encode()
    link = _link(text, before)
    return b'%s,"chain":"%s"}' % (text[:-1], link.encode()), link


def link_of(raw: bytes, before: str) -> str | None:
    """The link of a line, if it is the one that follows from the bytes and the line before; else None."""
    found = _END.search(raw)
    if found is None:
        return None
    own = _link(raw[: found.start()] + b"}", before)
    return own if own == found[1].decode() else None


def said_link(raw: bytes) -> str | None:
    """The link that a line says it has."""
    found = _END.search(raw)
    return None if found is None else found[1].decode()


def _link(text: bytes, before: str) -> str:
    return hashlib.sha256(b"%s\n%s" % (before.encode(), text)).hexdigest()[:CHAIN_DIGITS]
