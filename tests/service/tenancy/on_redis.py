"""Ledgers and replays on one Redis, as so many processes would have them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from service.clock import ManualClock
from service.idempotency import MemoryIdempotencyStore, RedisIdempotencyStore
from service.redis_client import RedisClient
from service.tenancy.quota import MemoryLedger, RedisLedger

TTL_S = 60.0


@asynccontextmanager
async def _links(url: str, clock: ManualClock, count: int) -> AsyncIterator[list[RedisClient]]:
    links = [RedisClient(url, timeout_s=2.0, clock=clock) for _ in range(count)]
    try:
        yield links
    finally:
        for link in links:
            await link.aclose()


@asynccontextmanager
async def ledgers(url: str, clock: ManualClock, count: int = 2) -> AsyncIterator[list[RedisLedger]]:
    async with _links(url, clock, count) as links:
        made = [RedisLedger(link, clock, MemoryLedger(clock)) for link in links]
        try:
            yield made
        finally:
            for ledger in made:
                await ledger.stop()


@asynccontextmanager
async def idempotency_store(url: str, clock: ManualClock, count: int = 2) -> AsyncIterator[list[RedisIdempotencyStore]]:
    async with _links(url, clock, count) as links:
        made = [
            RedisIdempotencyStore(link, clock, TTL_S, MemoryIdempotencyStore(clock, TTL_S, 10**6)) for link in links
        ]
        try:
            yield made
        finally:
            for one in made:
                await one.stop()


async def told(ledger: RedisLedger) -> None:
    """Until Redis has heard what was settled."""
    await asyncio.gather(*ledger._settling)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.002)


async def back(ledger_or_replays: RedisLedger | RedisIdempotencyStore, clock: ManualClock) -> None:
    """Until its breaker has closed again."""
    link = ledger_or_replays._link
    while link.down:
        await clock.advance(1.0)
        await asyncio.sleep(0.002)
