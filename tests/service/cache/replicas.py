"""Caches of several processes on one Redis, and what they tell those who watch."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from service.cache.redis import RedisCache
from service.clock import Clock, SystemClock
from service.redis_client import RedisClient
from testkit.waiting import HUNG_S

LEASE_S = 60.0
"""No busy machine is so late with a heartbeat that a living holder is taken for dead."""
BRIEF_S = 0.8
"""The lease of a holder whose death a test waits for."""


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

    def __init__(self, link: RedisClient, faults: Counter[str], clock: Clock, name: str, lease_s: float) -> None:
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
            lease_s=lease_s,
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
    lease_s: float = LEASE_S,
    timeout_s: float = HUNG_S,
    clock: Clock | None = None,
    link_clock: Clock | None = None,
    kind: type[RedisClient] = RedisClient,
) -> AsyncIterator[Replica]:
    """One that does not beat is as good as dead after its lease. Its time is the system's unless it is given."""
    faults: Counter[str] = Counter()
    link = kind(
        url, timeout_s=timeout_s, clock=link_clock or SystemClock(), on_fault=lambda kind: faults.update([kind])
    )
    made = Replica(link, faults, clock or SystemClock(), name, lease_s)
    if beats:
        await made.cache.start()
    try:
        yield made
    finally:
        await made.cache.stop()
        await link.aclose()


async def known_to(a: Replica, wanted: Sequence[bytes]) -> None:
    """Returns once Redis has the values: what was kept is written soon."""
    async with asyncio.timeout(HUNG_S):
        while (await a.link.get_many([value_name(one).encode() for one in wanted])).count(None):
            await asyncio.sleep(0.002)
