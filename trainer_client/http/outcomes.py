"""What becomes of a response: the service's word on it, or the reason why there is none. Pure.

Always true: a failure carries no score, and keeps nothing alive of the call that failed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainer_client import wire
from trainer_client.errors import InvalidRequest, RubricdClientError
from trainer_client.http import chunks, validation


@dataclass(frozen=True, slots=True)
class Scored:
    """The service's word on one response; `result.score` may still be None, and `result.criteria` say why."""

    result: wire.Result
    judge: wire.Judge

    @property
    def id(self) -> str:
        return self.result.id


@dataclass(frozen=True, slots=True)
class Failed:
    """No word on this response, and why."""

    id: str
    error: RubricdClientError


Outcome = Scored | Failed


def reward(outcome: Outcome) -> float | None:
    """The score, or None where there is none: a response that was not judged has no reward, not a reward of zero."""
    return outcome.result.score if isinstance(outcome, Scored) else None


def failures(
    error: RubricdClientError, part: Sequence[chunks.Entry], failed: Sequence[chunks.Entry], *, each: bool
) -> Iterator[tuple[int, Failed]]:
    """The places and outcomes of those that failed of a part; `each` with what was said of it alone."""
    reason = validation.relocated(error, [entry.index for entry in part])
    # An outcome is kept for long; what hangs on a raised error (frames, the body that was sent) must not be.
    reason.__traceback__ = reason.__cause__ = reason.__context__ = None
    for entry in failed:
        own = validation.only(reason, entry.index) if each else reason
        for place, id in zip(entry.places, entry.ids, strict=True):
            yield place, Failed(id, own)


def unsendable(entry: chunks.Entry) -> Iterator[tuple[int, Failed]]:
    error = InvalidRequest(
        "a text of this item is not valid Unicode (a lone surrogate); decode it with errors='replace'",
        errors=((("items", entry.index), "not valid Unicode"),),
    )
    return failures(error, [entry], [entry], each=False)
