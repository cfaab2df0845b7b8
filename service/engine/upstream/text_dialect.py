"""Reads the refusals of servers that take texts, by the codes that their protocols have.

Guarantees: no text of a server's error is passed on, because it may quote the question. A reply in which a key stands
twice is no reply.
"""

import json
from typing import Any

import httpx

from service.engine.upstream.calls import Dialect, retry_after_s
from service.errors import EngineFailed, JudgementError, TooLong

_TOO_LONG = ("max_tokens_exceeded", "context length", "context_length_exceeded", "maximum model length")
_OVERLOADED = 529


class NotTaken(EngineFailed):
    """The server takes no such call (400 or 422): another form of it may be taken."""


def text_dialect(path: str) -> Dialect:
    return Dialect(path, _pause_s, _error, read_strictly)


def _pause_s(response: httpx.Response) -> float | None:
    """Seconds for which it asks to be left alone: 429 or 529, or another one with a time to come back."""
    exact = response.headers.get("retry-after-ms", "").strip()
    if response.status_code in (429, 503, _OVERLOADED) and exact.isdecimal():
        return max(0.1, int(exact[:9]) / 1000)
    if response.status_code == _OVERLOADED:
        return retry_after_s(httpx.Response(429, headers=response.headers))
    return retry_after_s(response)


def _error(response: httpx.Response, questions: int) -> JudgementError:
    """A refusal by the protocol's own codes. Its text may quote the question, so it is searched and not passed on."""
    code = response.status_code
    if code == httpx.codes.REQUEST_ENTITY_TOO_LARGE or any(phrase in response.text.lower() for phrase in _TOO_LONG):
        return TooLong("the judge's server says that the state and its question are too long")
    if code in (401, 402, 403):
        return EngineFailed(f"the judge's server refuses the key or wants to be paid: it answers {code}")
    if code in (400, 422):
        return NotTaken(f"the judge's server answered {code}")
    return EngineFailed(f"the judge's server answered {code}")


def read_strictly(response: httpx.Response) -> Any:
    """Raises EngineFailed for what is not JSON, or holds a key twice."""
    try:
        return json.loads(response.content, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise EngineFailed("the judge's server answered something that is not JSON, or a key twice") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return found
