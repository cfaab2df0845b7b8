"""Quotas, in memory and by two replicas on a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.admission.quota import Ledger, MemoryLedger, RedisLedger
from service.admission.team import Team
from service.clock import ManualClock
from service.errors import InvalidRequest, QuotaExceeded
from service.redis_link import RedisLink
from tests.redis_server import RedisServer

QUOTAS = [Team("a", tokens_per_minute=100), Team("a", concurrent_tokens=100)]


@asynccontextmanager
async def replicas(url: str, clock: ManualClock, count: int = 2) -> AsyncIterator[list[RedisLedger]]:
    links = [RedisLink(url, timeout_s=2.0, clock=clock) for _ in range(count)]
    ledgers = [RedisLedger(link, clock, MemoryLedger(clock)) for link in links]
    try:
        yield ledgers
    finally:
        for ledger, link in zip(ledgers, links, strict=True):
            await ledger.stop()
            await link.aclose()


async def admitted(ledgers: list[Ledger], team: Team, calls: int) -> int:
    tried = [ledgers[n % len(ledgers)].reserve(team, 1) for n in range(calls)]
    answers = await asyncio.gather(*tried, return_exceptions=True)
    assert all(not isinstance(one, BaseException) or isinstance(one, QuotaExceeded) for one in answers)
    return sum(not isinstance(one, BaseException) for one in answers)


@pytest.mark.parametrize("team", QUOTAS)
async def test_100_of_1000_over_two_replicas(redis_url: str, team: Team) -> None:
    async with replicas(redis_url, ManualClock()) as ledgers:
        assert await admitted([*ledgers], team, 1000) == 100


@pytest.mark.parametrize("team", QUOTAS)
async def test_100_of_1000_in_memory(team: Team) -> None:
    assert await admitted([MemoryLedger(ManualClock())], team, 1000) == 100


async def test_settled_once_and_the_unused_comes_back(redis_url: str) -> None:
    clock, team = ManualClock(), Team("a", tokens_per_minute=100, concurrent_tokens=100)
    async with replicas(redis_url, clock, 1) as (shared,):
        for ledger in (MemoryLedger(clock), shared):
            reservation = await ledger.reserve(team, 100)
            for _ in range(3):
                reservation.settle(70)
            await asyncio.gather(*shared._settling)
            assert await admitted([ledger], team, 40) == 30
            with pytest.raises(QuotaExceeded) as refused:
                await ledger.reserve(Team("a", tokens_per_minute=100), 10)
            assert refused.value.retry_after_s == pytest.approx(6.0)
            with pytest.raises(InvalidRequest):
                await ledger.reserve(team, 101)


async def test_what_a_dead_process_held_expires_and_a_living_ones_does_not(redis_url: str) -> None:
    clock, team = ManualClock(), Team("a", concurrent_tokens=100)
    async with replicas(redis_url, clock) as (dead, alive):
        lost, held = await dead.reserve(team, 60), await alive.reserve(team, 40)
        for _ in range(4):
            await clock.advance(10.0)
            await alive._link.pipeline([alive._renewal("a", [one.id for one in alive._held])])
        assert await admitted([dead, alive], team, 100) == 60
        lost.settle(0)
        held.settle(0)
        await asyncio.gather(*dead._settling, *alive._settling)
        assert await admitted([alive], team, 100) == 40


async def test_without_redis_each_process_decides_and_comes_back() -> None:
    clock, team = ManualClock(), Team("a", tokens_per_minute=100, requests_per_minute=1)
    with RedisServer() as server:
        async with replicas(server.url, clock) as ledgers:
            held = await ledgers[0].reserve(team, 50)
            server.kill()
            assert await admitted([*ledgers], team, 400) == 200
            await ledgers[0].admit(team)
            held.settle(0)
