"""Writes what the server itself has to write: refusals without the app, and a request's head without its upgrade.

Guarantees: a refusal holds no text of the request, and says that its connection ends.
"""

import json
import uuid
from collections.abc import Iterable, Sequence
from http import HTTPStatus

Header = tuple[bytes, bytes]

_RETRY_AFTER_S = 5
_REFUSALS = {
    "limit": (503, "overloaded", "all connections are in use; come back later"),
    "client_limit": (503, "overloaded", "your address has too many connections; use fewer, or keep them open"),
    "descriptors": (503, "overloaded", "the service can open no further connection; come back later"),
    "headers_too_large": (431, "headers_too_large", "the request line and its headers are too many or too large"),
    "headers_too_slow": (408, "timeout", "the headers did not arrive in time"),
    "body_too_slow": (408, "timeout", "the body arrived too slowly"),
    "malformed": (400, "malformed", "this is not a request of HTTP/1.1 that the service can read"),
}
_OF_AN_UPGRADE = frozenset({b"upgrade", b"http2-settings"})


def refusal(reason: str, default_headers: Iterable[Header] = ()) -> bytes:
    """The whole answer, a problem document like the app's own. Empty where the caller would not read one."""
    if reason not in _REFUSALS:
        return b""
    status, code, detail = _REFUSALS[reason]
    id, phrase = uuid.uuid4().hex, HTTPStatus(status).phrase
    document = {
        "type": f"urn:rubricd:problem:{code}",
        "title": phrase,
        "status": status,
        "detail": detail,
        "request_id": id,
        "errors": [],
    }
    body = json.dumps(document).encode()
    headers = [
        *default_headers,
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"%d" % _RETRY_AFTER_S))
    return _head(f"HTTP/1.1 {status} {phrase}".encode(), headers) + body


def head_without_upgrade(method: bytes, url: bytes, version: str, headers: Sequence[Header]) -> bytes:
    """A request's head without its wish for another protocol; what frames its body stays."""
    kept: list[Header] = []
    for name, value in headers:
        if name == b"connection":
            value = b",".join(one for one in value.split(b",") if one.strip().lower() not in _OF_AN_UPGRADE)
        if value and name not in _OF_AN_UPGRADE:
            kept.append((name, value))
    return _head(b"%s %s HTTP/%s" % (method, url, version.encode()), kept)


def _head(first_line: bytes, headers: Iterable[Header]) -> bytes:
    return b"\r\n".join([first_line, *(b"%s: %s" % header for header in headers), b"", b""])
