"""What the asker wants of a cache that replicas share, and of the agreement who judges what.

Always true: an implementation never raises and never waits long: a fault of what lies behind it makes every key
`mine`, which is slower and never wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class LookedUp(Generic[V]):
    """Each key that was looked up is in exactly one: `known` with its value, `mine` to judge, or being judged
    `elsewhere`."""

    known: Mapping[bytes, V]
    mine: frozenset[bytes]
    elsewhere: frozenset[bytes]


class SharedCache(Protocol[V]):
    """Every key that is `mine` is ended once, by `keep` or by `give_up`."""

    async def look_up(self, keys: Sequence[bytes]) -> LookedUp[V]:
        """What is known, and who judges the rest."""
        ...

    def watch(
        self, keys: Sequence[bytes], known: Callable[[bytes, V], None], mine: Callable[[Sequence[bytes]], None]
    ) -> None:
        """Tells once of each key: its value when it is there, or that it is the caller's to judge now."""
        ...

    def unwatch(self, key: bytes) -> None:
        """Nobody waits for this key any more."""
        ...

    def keep(self, key: bytes, value: V) -> None:
        """Judged here: write it soon, for all, and let go of the key."""
        ...

    def give_up(self, key: bytes) -> None:
        """Not judged: let go of the key, so that somebody else may try."""
        ...
