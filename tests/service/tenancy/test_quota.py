"""Tests of quotas, in memory and by two replicas on a real Redis, and of what is counted of them."""

import asyncio
import gc

import pytest

from service.clock import ManualClock
from service.errors import InvalidRequest, QuotaExceeded
from service.observability import Telemetry
from service.tenancy.quota import Ledger, MemoryLedger, MeteredLedger, quotas_of
from service.tenancy.team import Team
from testkit.metrics_page import Page
from testkit.redis import RedisServer
from tests.service.tenancy.on_redis import ledgers, told

LIMITED = Team("a", tokens_per_minute=100, requests_per_minute=2)
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


RULES = Team("a", rule_seconds_per_minute=60)


async def test_rule_seconds_are_charged_afterwards_and_what_is_owed_is_waited_for(redis_url: str) -> None:
    """In memory, and over two replicas on Redis: 90 s of checks of a quota of 60 s a minute are owed for 30 s."""
    clock = ManualClock()
    async with ledgers(redis_url, clock) as made:
        sorts: list[list[Ledger]] = [[MemoryLedger(clock)], [*made]]
        for sort in sorts:
            first, last = sort[0], sort[-1]
            await first.admit_rules(RULES)
            assert first.charge_rules(RULES, 50.0)
            for ledger in (first, last, first, last):
                ledger.charge_rules(RULES, 10.0)
            for shared in made:
                await told(shared)
            with pytest.raises(QuotaExceeded, match="rule seconds") as refused:
                await last.admit_rules(RULES)
            assert refused.value.retry_after_s == pytest.approx(30.0)
            assert not first.charge_rules(RULES, 0.0)
            await clock.advance(29.0)
            with pytest.raises(QuotaExceeded):
                await last.admit_rules(RULES)
            await clock.advance(1.0)
            await last.admit_rules(RULES)
            await first.admit_rules(RULES)
            await first.admit_rules(Team("free"))
            assert first.charge_rules(Team("free"), 1e6)


async def test_a_team_that_owes_hours_is_not_forgotten_and_without_redis_a_process_counts_alone() -> None:
    clock = ManualClock()
    with RedisServer() as server:
        async with ledgers(server.url, clock, 1) as (ledger,):
            ledger.charge_rules(RULES, 7260.0)
            await told(ledger)
            assert not ledger.charge_rules(RULES, 0.0)
            assert 7_000_000 < int(str(server.do("PTTL", "rubricd:q:{a}:s"))) < 7_400_000
            server.kill()
            ledger.charge_rules(RULES, 61.0)
            await told(ledger)
            with pytest.raises(QuotaExceeded):
                await ledger.admit_rules(RULES)


async def test_rule_seconds_are_counted_for_teams_that_have_a_quota() -> None:
    ledger, telemetry = metered()
    meter = ledger.rule_meter(RULES)
    await meter.admit()
    assert meter.charge(1.5)
    assert not meter.charge(60.0)
    assert ledger.rule_meter(Team("free")).charge(1e6)
    assert page(telemetry)("rubricd_quota_rule_seconds_total", team="a") == 61.5


def metered() -> tuple[MeteredLedger, Telemetry]:
    telemetry = Telemetry()
    return MeteredLedger(MemoryLedger(ManualClock()), telemetry), telemetry


def page(telemetry: Telemetry) -> Page:
    return Page(telemetry.exposition().decode())


async def test_what_is_charged_is_what_was_used_once_and_never_more_than_was_reserved() -> None:
    ledger, telemetry = metered()
    first, second = await ledger.reserve(LIMITED, 40), await ledger.reserve(LIMITED, 50)
    assert ledger.reserved() == {"a": 90}
    for _ in range(3):
        first.settle(30)
    assert ledger.reserved() == {"a": 50}
    second.settle(70)
    assert ledger.reserved() == {}
    assert page(telemetry)("rubricd_quota_tokens_total", team="a") == 80


async def test_a_refusal_is_a_refusal_and_charges_nothing() -> None:
    ledger, telemetry = metered()
    for _ in range(2):
        await ledger.admit(LIMITED)
    with pytest.raises(QuotaExceeded):
        await ledger.admit(LIMITED)
    held = await ledger.reserve(LIMITED, 100)
    with pytest.raises(QuotaExceeded):
        await ledger.reserve(LIMITED, 1)
    held.settle(0)
    found = page(telemetry)
    assert (found("rubricd_quota_requests_total"), found("rubricd_quota_tokens_total")) == (2, 0)


async def test_what_is_dropped_is_not_reserved_any_more() -> None:
    ledger, _ = metered()
    held = await ledger.reserve(LIMITED, 40)
    del held
    gc.collect()
    assert ledger.reserved() == {}
    await ledger.reserve(LIMITED, 60)


async def test_a_team_without_a_quota_is_not_metered() -> None:
    ledger, telemetry = metered()
    free = Team("free")
    await ledger.admit(free)
    (await ledger.reserve(free, 40)).settle(40)
    found = page(telemetry)
    assert not found.has("rubricd_quota_tokens_total")
    assert not found.has("rubricd_quota_requests_total")


def test_limits_are_those_of_the_teams_file() -> None:
    teams = [LIMITED, Team("b", concurrent_tokens=7, rule_seconds_per_minute=9), Team("free")]
    expected = {("a", "tokens_per_minute"): 100, ("a", "requests_per_minute"): 2, ("b", "concurrent_tokens"): 7}
    expected["b", "rule_seconds_per_minute"] = 9
    assert quotas_of(teams) == expected
