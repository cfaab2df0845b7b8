"""What the panels of quotas may read: never above 100 %, however greedy a team is."""

import pytest

from deploy.grafana import teams
from service.clock import ManualClock
from service.errors import QuotaExceeded
from service.tenancy.quota import MemoryLedger
from service.tenancy.team import Team

LIMIT = 600
TEAM = Team(name="greedy", tokens_per_minute=LIMIT)


async def _taken(seconds: int, idle_s: int) -> list[int]:
    """Tokens in each second of a team that first saves and then takes whatever it gets."""
    clock = ManualClock()
    ledger, taken = MemoryLedger(clock), [0] * seconds
    for second in range(seconds):
        while second >= idle_s:
            try:
                (await ledger.reserve(TEAM, 1)).settle(1)
            except QuotaExceeded:
                break
            taken[second] += 1
        await clock.advance(1)
    return taken


@pytest.mark.parametrize("idle_s", [0, 7, 59, 60, 200])
async def test_the_reading_is_at_most_one_and_then_that_of_a_team_that_is_refused(idle_s: int) -> None:
    taken = await _taken(1_500, idle_s)
    window_s = teams.MINUTES * 60
    allowed = LIMIT * (teams.MINUTES + 1)
    readings = [sum(taken[start : start + window_s]) / allowed for start in range(len(taken) - window_s)]
    assert 0.99 < max(readings) <= 1
    assert readings[-1] == pytest.approx(teams.USED_UP, abs=0.01)


async def test_a_single_minute_may_hold_twice_the_quota() -> None:
    """Which is why the panels compare ten."""
    taken = await _taken(200, 60)
    assert max(sum(taken[start : start + 60]) for start in range(140)) > 1.9 * LIMIT
