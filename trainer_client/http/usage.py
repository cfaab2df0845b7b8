"""Counts what one client's requests cost: the usage that answers name, and the attempts that were made again.

Guarantees: an answer is counted once, when it has been checked. What an attempt cost that brought no answer is not
known, and is not guessed.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from typing import Self

from trainer_client import wire


@dataclass(frozen=True, slots=True)
class ClientUsage:
    """What was used so far. `answers` are requests that were answered, `retries` attempts after a call's first one; the
    others are the sums of the answers' `usage`."""

    answers: int = 0
    retries: int = 0
    judgements: int = 0
    cache_hits: int = 0
    deduplicated: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Self) -> "ClientUsage":
        return ClientUsage(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, before: Self) -> "ClientUsage":
        return ClientUsage(*(a - b for a, b in zip(astuple(self), astuple(before), strict=True)))

    def items(self) -> Iterator[tuple[str, int]]:
        """Each name with its number."""
        return ((field.name, getattr(self, field.name)) for field in fields(self))


def of_answer(usage: wire.Usage) -> ClientUsage:
    """One answer's usage. What is not counted here, such as its price in money, stays in the answer."""
    return ClientUsage(answers=1, **usage.model_dump(include=_COUNTED))


_COUNTED = {field.name for field in fields(ClientUsage)} & wire.Usage.model_fields.keys()


RETRY = ClientUsage(retries=1)
