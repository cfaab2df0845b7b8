"""What a body asks in the contract's terms and how its answer is written, whichever protocol it was spoken in. So that
one route judges for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from service.api.request_body import parse
from trainer_client import wire


@dataclass(frozen=True, slots=True)
class Spoken:
    """`write` makes the bytes of a 200 of what was judged. Raises NotJudged where the protocol cannot say what is
    missing."""

    request: wire.ScoreRequest
    write: Callable[[wire.ScoreResponse], bytes]


Read = Callable[[bytes], Spoken]
"""Raises InvalidRequest."""


def own(body: bytes) -> Spoken:
    """The contract itself."""
    return Spoken(parse(body, wire.ScoreRequest), lambda answer: answer.model_dump_json().encode())
