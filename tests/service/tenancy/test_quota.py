"""Quotas, in memory and by two replicas on a real Redis."""

import asyncio

import pytest

from service.clock import ManualClock
from service.errors import InvalidRequest, QuotaExceeded
from service.tenancy.quota import Ledger, MemoryLedger
from service.tenancy.team import Team
from testkit.redis import RedisServer
from tests.service.tenancy.on_redis import ledgers, told

QUOTAS = [Team("a", tokens_per_minute=100), Team("a", concurrent_tokens=100)]


async def admitted(made: list[Ledger], team: Team, calls: int) -> int:
    tried = [made[n % len(made)].reserve(team, 1) for n in range(calls)]
    answers = await asyncio.gather(*tried, return_exceptions=True)
    assert all(not isinstance(one, BaseException) or isinstance(one, QuotaExceeded) for one in answers)
    return sum(not isinstance(one, BaseException) for one in answers)


@pytest.mark.parametrize("team", QUOTAS)
async def test_100_of_1000_over_two_replicas(redis_url: str, team: Team) -> None:
    async with ledgers(redis_url, ManualClock()) as made:
        assert await admitted([*made], team, 1000) == 100


@pytest.mark.parametrize("team", QUOTAS)
async def test_100_of_1000_in_memory(team: Team) -> None:
    assert await admitted([MemoryLedger(ManualClock())], team, 1000) == 100


async def test_settled_once_and_the_unused_comes_back(redis_url: str) -> None:
    clock, team = ManualClock(), Team("a", tokens_per_minute=100, concurrent_tokens=100)
    async with ledgers(redis_url, clock, 1) as (shared,):
        for ledger in (MemoryLedger(clock), shared):
            reservation = await ledger.reserve(team, 100)
            for _ in range(3):
                reservation.settle(70)
            assert len(shared._settling) <= 1
            await told(shared)
            assert await admitted([ledger], team, 40) == 30
            with pytest.raises(QuotaExceeded) as refused:
                await ledger.reserve(Team("a", tokens_per_minute=100), 10)
            assert refused.value.retry_after_s == pytest.approx(6.0)
            with pytest.raises(InvalidRequest):
                await ledger.reserve(team, 101)


async def test_without_redis_each_process_decides_and_comes_back() -> None:
    clock, team = ManualClock(), Team("a", tokens_per_minute=100, requests_per_minute=1)
    with RedisServer() as server:
        async with ledgers(server.url, clock) as made:
            held = await made[0].reserve(team, 50)
            server.kill()
            assert await admitted([*made], team, 400) == 200
            await made[0].admit(team)
            held.settle(0)
