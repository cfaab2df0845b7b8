"""Caches of several processes on one Redis, and what they tell those who watch."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from service.cache.redis import RedisCache
from service.clock import Clock, SystemClock
from service.redis_client import RedisClient

LEASE_S = 0.8


def key(n: int) -> bytes:
    return n.to_bytes(32, "big")


def keys(count: int, first: int = 0) -> list[bytes]:
    return [key(n) for n in range(first, first + count)]


def truth(of: bytes) -> str:
    """The one value that is right for a key."""
    return f"judged {of.hex()}"


def value_name(of: bytes) -> str:
    return f"rubricd:v:{{{of.hex()}}}"


def lease_name(of: bytes) -> str:
    return f"rubricd:l:{{{of.hex()}}}"


class Replica:
    """One process's cache, with all that it told."""

    def __init__(self, link: RedisClient, faults: Counter[str], clock: Clock, name: str) -> None:
        self.link = link
        self.faults = faults
        self.known: list[tuple[bytes, str]] = []
        self.mine: list[bytes] = []
        self.cache = RedisCache[str](
            link,
            clock,
            encode=str.encode,
            decode=bytes.decode,
            ttl_s=100,
            holder=name,
            lease_s=LEASE_S,
            faulted=lambda kind: faults.update([kind]),
        )

    def watch(self, keys: Sequence[bytes]) -> None:
        self.cache.watch(keys, lambda key, value: self.known.append((key, value)), self.mine.extend)

    def keep(self, keys: Sequence[bytes]) -> None:
        for one in keys:
            self.cache.put(one, truth(one))


@asynccontextmanager
async def replica(
    url: str,
    name: str = "a",
    *,
    beats: bool = True,
    timeout_s: float = 2.0,
    clock: Clock | None = None,
    link_clock: Clock | None = None,
    kind: type[RedisClient] = RedisClient,
) -> AsyncIterator[Replica]:
    """One that does not beat is as good as dead after LEASE_S. A replica's time is the system's unless it is given."""
    faults: Counter[str] = Counter()
    link = kind(
        url, timeout_s=timeout_s, clock=link_clock or SystemClock(), on_fault=lambda kind: faults.update([kind])
    )
    made = Replica(link, faults, clock or SystemClock(), name)
    if beats:
        await made.cache.start()
    try:
        yield made
    finally:
        await made.cache.stop()
        await link.aclose()
