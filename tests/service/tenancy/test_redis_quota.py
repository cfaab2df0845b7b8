"""Reservations of the dead, the slow and the forgetful, and a Redis that goes and comes back."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.clock import ManualClock
from service.errors import QuotaExceeded
from service.redis_client import RedisClient
from service.tenancy.quota import Ledger, MemoryLedger
from service.tenancy.redis_quota import RedisLedger
from service.tenancy.team import Team
from testkit.redis import RedisServer
from testkit.waiting import HUNG_S, until
from tests.service.tenancy.on_redis import back, ledgers, told

AT_ONCE = Team("a", concurrent_tokens=100)
IDS = "rubricd:q:{a}:t:ids"


async def room(ledger: Ledger, team: Team) -> int:
    """How many tokens a team may have now, to ten."""
    for tokens in range(100, 0, -10):
        try:
            reservation = await ledger.reserve(team, tokens)
        except QuotaExceeded:
            continue
        reservation.settle(0)
        return tokens
    return 0


async def test_what_a_crashed_process_held_is_free_after_30_s_and_no_sooner(redis_url: str) -> None:
    clock = ManualClock()
    async with ledgers(redis_url, clock) as (dead, alive):
        lost = await dead.reserve(AT_ONCE, 60)
        await clock.advance(29.9)
        assert await room(alive, AT_ONCE) == 40
        await told(alive)
        await clock.advance(0.1)
        assert await room(alive, AT_ONCE) == 100
        await told(alive)
        lost.settle(0)
        await told(dead)
        assert await room(alive, AT_ONCE) == 100


async def test_what_lasts_minutes_is_kept_until_nobody_renews_it(redis_url: str) -> None:
    clock = ManualClock()
    async with ledgers(redis_url, clock) as (one, other):
        await one.start()
        long = await one.reserve(AT_ONCE, 60)
        for renewed in range(1, 31):
            await clock.advance(10.0)
            await until_expires_at(redis_url, 10.0 * renewed + 30)
        assert await room(other, AT_ONCE) == 40
        await told(other)
        await one.stop()
        assert "quota-renew" not in {task.get_name() for task in asyncio.all_tasks()}
        await clock.advance(29.9)
        assert await room(other, AT_ONCE) == 40
        await told(other)
        await clock.advance(0.1)
        assert await room(other, AT_ONCE) == 100
        long.settle(0)


async def test_what_was_dropped_unsettled_is_not_renewed(redis_url: str) -> None:
    clock = ManualClock()
    async with ledgers(redis_url, clock, 1) as (one,):
        await one.start()
        kept, dropped = await one.reserve(AT_ONCE, 10), await one.reserve(AT_ONCE, 60)
        del dropped
        gc.collect()
        for renewed in range(1, 4):
            await clock.advance(10.0)
            await until_expires_at(redis_url, 10.0 * renewed + 30)
        assert await room(one, AT_ONCE) == 90
        kept.settle(0)


async def test_a_process_alone_does_not_count_for_ever_what_was_dropped() -> None:
    team = Team("a", tokens_per_minute=100, concurrent_tokens=60)
    ledger = MemoryLedger(ManualClock())
    dropped = await ledger.reserve(team, 60)
    with pytest.raises(QuotaExceeded):
        await ledger.reserve(AT_ONCE, 50)
    del dropped
    gc.collect()
    assert await room(ledger, AT_ONCE) == 100
    with pytest.raises(QuotaExceeded):
        await ledger.reserve(team, 50)


async def test_a_redis_that_is_killed_and_comes_back() -> None:
    """One minute's quota in Redis, one in memory while it is unavailable, a new one in a Redis that lost all."""
    clock, team = ManualClock(), Team("a", tokens_per_minute=100, concurrent_tokens=100)
    with RedisServer() as server:
        async with ledgers(server.url, clock, 1) as (ledger,):
            before = await ledger.reserve(team, 50)
            server.kill()
            alone = await ledger.reserve(team, 60)
            assert await room(ledger, team) == 40
            server.start()
            await back(ledger, clock)
            after = await ledger.reserve(team, 70)
            before.settle(0)
            alone.settle(0)
            await told(ledger)
            assert await room(ledger, team) == 30
            await told(ledger)
            after.settle(70)
            await told(ledger)
            assert await room(ledger, team) == 30
            server.kill()
            assert await room(ledger, team) == 100


async def test_the_log_says_for_whom_the_quotas_hold(caplog: pytest.LogCaptureFixture) -> None:
    """One line when 50 requests are counted alone, and one when Redis is back."""
    clock, team = ManualClock(), Team("a", tokens_per_minute=1000, requests_per_minute=1000)
    with RedisServer() as server:
        async with ledgers(server.url, clock, 1) as (ledger,):
            await ledger.reserve(team, 1)
            assert ledger.shared
            server.kill()
            for _ in range(50):
                await ledger.admit(team)
                await ledger.reserve(team, 1)
                assert not ledger.shared
            server.start()
            await back(ledger, clock)
            await ledger.admit(team)
            assert ledger.shared
    told = [record.getMessage() for record in caplog.records if "quotas hold" in record.getMessage()]
    assert told == ["quotas hold for this replica alone (Redis: connection)", "quotas hold over all replicas again"]


async def test_the_renewal_outlives_a_redis_that_is_away() -> None:
    clock = ManualClock()
    with RedisServer() as server:
        async with ledgers(server.url, clock) as (one, other):
            await one.start()
            lost = await one.reserve(AT_ONCE, 10)
            server.kill()
            await one.reserve(AT_ONCE, 10)
            await clock.advance(20.0)
            server.start()
            await back(one, clock)
            held = await one.reserve(AT_ONCE, 60)
            for _ in range(9):
                was_s = clock.now()
                await clock.advance(10.0)
                await until_expires_at(server.url, was_s + 30)
            assert await room(other, AT_ONCE) == 40
            held.settle(0)
            lost.settle(0)


async def test_what_redis_did_not_hear_was_settled_expires(redis_url: str) -> None:
    clock = ManualClock()
    async with ledgers(redis_url, clock) as (one, other):
        await one.start()
        settled, held = await one.reserve(AT_ONCE, 60), await one.reserve(AT_ONCE, 10)
        one._client._open_breaker()
        settled.settle(0)
        await told(one)
        await back(one, clock)
        assert await room(other, AT_ONCE) == 30
        for renewed in range(1, 4):
            await clock.advance(10.0)
            await until_expires_at(redis_url, 10.0 * renewed + 30)
        assert await room(other, AT_ONCE) == 90
        held.settle(0)


async def test_what_expired_is_neither_renewed_nor_given_back_twice(redis_url: str) -> None:
    clock = ManualClock()
    async with ledgers(redis_url, clock) as (slow, other):
        expired = await slow.reserve(AT_ONCE, 60)
        await clock.advance(30.0)
        instead, fresh = await other.reserve(AT_ONCE, 70), await slow.reserve(AT_ONCE, 10)
        await slow.start()
        await clock.advance(10.0)
        await until_expires_at(redis_url, 70.0)
        expired.settle(0)
        await told(slow)
        assert await room(other, AT_ONCE) == 20
        instead.settle(0)
        fresh.settle(0)


async def test_reservations_that_redis_evicted_are_not_counted_for_ever(
    redis_url: str, redis_server: RedisServer
) -> None:
    async with ledgers(redis_url, ManualClock(), 1) as (ledger,):
        evicted = await ledger.reserve(AT_ONCE, 60)
        redis_server.do("DEL", IDS)
        assert await room(ledger, AT_ONCE) == 100
        evicted.settle(0)
        await told(ledger)
        assert await room(ledger, AT_ONCE) == 100


async def test_who_leaves_while_it_is_reserved_has_nothing_reserved(redis_url: str) -> None:
    async with ledgers(redis_url, ManualClock(), 1) as (ledger,):
        for turns in range(60):
            asking = asyncio.create_task(ledger.reserve(AT_ONCE, 100))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            (left,) = await asyncio.gather(asking, return_exceptions=True)
            if not isinstance(left, BaseException):
                left.settle(0)
            await told(ledger)
            assert await room(ledger, AT_ONCE) == 100, turns
            await told(ledger)


async def test_a_replica_two_hours_ahead_locks_nobody_out(redis_url: str) -> None:
    """It uses up the team's quota, which comes back by Redis' own clock for a replica two hours behind."""
    team, ahead, behind = Team("a", tokens_per_minute=60_000), ManualClock(), ManualClock()
    await ahead.advance(7200.0)
    async with own_time(redis_url, ahead) as first, own_time(redis_url, behind) as second:
        (await first.reserve(team, 60_000)).settle(60_000)
        await told(first)
        with pytest.raises(QuotaExceeded) as refused:
            await second.reserve(team, 60_000)
        assert 50.0 < refused.value.retry_after_s <= 60.0
        assert await comes_back(second, team, 50, behind)


async def comes_back(ledger: Ledger, team: Team, tokens: int, clock: ManualClock) -> bool:
    """Whether so many tokens are there within three seconds of Redis' time and 300 of the process's."""
    for _ in range(300):
        try:
            await ledger.reserve(team, tokens)
        except QuotaExceeded:
            await asyncio.sleep(0.01)
            await clock.advance(1.0)
        else:
            return True
    return False


async def test_a_clock_of_redis_that_is_set_back_delays_nobody(redis_url: str) -> None:
    """As after a failover to a server whose clock is two hours behind."""
    quick = Team("a", tokens_per_minute=600, concurrent_tokens=600)
    ahead, behind = ManualClock(), ManualClock()
    await ahead.advance(7200.0)
    async with ledgers(redis_url, ahead, 1) as (before,):
        lost = await before.reserve(quick, 500)
    async with ledgers(redis_url, behind, 1) as (after,):
        await after.reserve(quick, 100)
        with pytest.raises(QuotaExceeded) as refused:
            await after.reserve(Team("a", tokens_per_minute=600), 60)
        assert refused.value.retry_after_s == pytest.approx(6.0)
        await behind.advance(29.9)
        with pytest.raises(QuotaExceeded):
            await after.reserve(Team("a", concurrent_tokens=600), 600)
        await behind.advance(30.1)
        await after.reserve(quick, 600)
    del lost


@asynccontextmanager
async def own_time(url: str, clock: ManualClock) -> AsyncIterator[RedisLedger]:
    """A ledger whose scripts ask Redis for the time, in a process whose clock is `clock`."""
    client = RedisClient(url, timeout_s=HUNG_S, clock=clock)
    ledger = RedisLedger(client, clock, MemoryLedger(clock))
    try:
        yield ledger
    finally:
        await ledger.stop()
        await client.aclose()


async def until_expires_at(url: str, at_s: float) -> None:
    """Until the longest of the team's reservations lives at least so long."""
    import redis

    def lives() -> bool:
        found = plain.zrange(IDS, 0, -1, withscores=True)
        return any(score >= at_s for _, score in found)

    with redis.Redis.from_url(url, protocol=2) as plain:
        await until(lives)
