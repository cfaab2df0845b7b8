"""The meter around the quotas."""

import gc

import pytest

from service.clock import ManualClock
from service.errors import QuotaExceeded
from service.observability import Telemetry
from service.tenancy.metered import MeteredLedger, limits
from service.tenancy.quota import MemoryLedger
from service.tenancy.team import Team
from testkit.metrics_page import Page

LIMITED = Team("a", tokens_per_minute=100, requests_per_minute=2)


def metered() -> tuple[MeteredLedger, Telemetry]:
    telemetry = Telemetry()
    return MeteredLedger(MemoryLedger(ManualClock()), telemetry), telemetry


def page(telemetry: Telemetry) -> Page:
    return Page(telemetry.exposition().decode())


async def test_what_is_charged_is_what_was_used_once_and_never_more_than_was_set_aside() -> None:
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


async def test_what_is_dropped_is_not_set_aside_any_more() -> None:
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
    teams = [LIMITED, Team("b", concurrent_tokens=7), Team("free")]
    expected = {("a", "tokens_per_minute"): 100, ("a", "requests_per_minute"): 2, ("b", "concurrent_tokens"): 7}
    assert limits(teams) == expected
