"""Ledgers and idempotency stores on one Redis, as several processes would have them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from service.clock import ManualClock
from service.idempotency import MemoryIdempotencyStore, RedisIdempotencyStore
from service.redis_client import Argument, RedisClient
from service.tenancy.quota import MemoryLedger
from service.tenancy.redis_quota import RedisLedger
from testkit.waiting import HUNG_S

TTL_S = 60.0


class TimedClient(RedisClient):
    """A client whose scripts see the time of a manual clock where they ask Redis for its own."""

    async def script(self, lua: str, keys: Sequence[bytes], args: Sequence[Argument]) -> Any:
        return await super().script(self._timed(lua), keys, args)

    async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        return await super().pipeline([[self._timed(part) for part in command] for command in commands])

    def _timed(self, part: Any) -> Any:
        seconds, fraction = divmod(self._clock.now(), 1)
        time = f"{{'{seconds:.0f}', '{fraction * 1e6:.0f}'}}"
        return part.replace("redis.call('TIME')", time) if isinstance(part, str) else part


@asynccontextmanager
async def _clients(url: str, clock: ManualClock, count: int) -> AsyncIterator[list[RedisClient]]:
    clients: list[RedisClient] = [TimedClient(url, timeout_s=HUNG_S, clock=clock) for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            await client.aclose()


@asynccontextmanager
async def ledgers(url: str, clock: ManualClock, count: int = 2) -> AsyncIterator[list[RedisLedger]]:
    async with _clients(url, clock, count) as clients:
        made = [RedisLedger(client, clock, MemoryLedger(clock)) for client in clients]
        try:
            yield made
        finally:
            for ledger in made:
                await ledger.stop()


@asynccontextmanager
async def idempotency_store(url: str, clock: ManualClock, count: int = 2) -> AsyncIterator[list[RedisIdempotencyStore]]:
    async with _clients(url, clock, count) as clients:
        made = [
            RedisIdempotencyStore(client, clock, TTL_S, MemoryIdempotencyStore(clock, TTL_S, 10**6))
            for client in clients
        ]
        try:
            yield made
        finally:
            for one in made:
                await one.stop()


async def told(ledger: RedisLedger) -> None:
    """Returns once Redis has what was settled."""
    await asyncio.gather(*ledger._settling)


async def back(ledger_or_store: RedisLedger | RedisIdempotencyStore, clock: ManualClock) -> None:
    """Returns once its circuit breaker is closed again."""
    client = ledger_or_store._client
    while client.breaker_open:
        await clock.advance(1.0)
        await asyncio.sleep(0.002)
