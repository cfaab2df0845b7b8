"""The interface of a cache that replicas share, with their agreement which of them judges what.

An implementation must neither raise nor wait long: a fault of what lies behind it makes every key `mine`, which is
slower and not wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Lookup(Generic[V]):
    """Each key that was looked up is in exactly one: `known` with its value, `mine` to judge, or being judged
    `elsewhere`."""

    known: Mapping[bytes, V]
    mine: frozenset[bytes]
    elsewhere: frozenset[bytes]


class SharedCache(Protocol[V]):
    """The caller ends every key that is `mine` once, by `put` or by `release`."""

    async def look_up(self, keys: Sequence[bytes]) -> Lookup[V]:
        """Returns which keys are known, and who judges the others."""
        ...

    def watch(
        self, keys: Sequence[bytes], known: Callable[[bytes, V], None], mine: Callable[[Sequence[bytes]], None]
    ) -> None:
        """Calls once for each key: `known` with its value, or `mine` where it is the caller's to judge now."""
        ...

    def unwatch(self, key: bytes) -> None:
        """No request waits for this key any more."""
        ...

    def put(self, key: bytes, value: V) -> None:
        """Judged here: writes the value soon, for all processes, and then releases the key."""
        ...

    def overwrite(self, key: bytes, value: V) -> None:
        """Judged here, though the key is not `mine`: writes the value soon, and releases nothing."""
        ...

    def release(self, key: bytes) -> None:
        """Not judged: releases the key, so that another process may try. Nothing where it is not held here."""
        ...
