"""Quotas with a meter: what was let in, set aside and charged, by team.

Always true: it changes no decision; only teams with a quota are metered; what nobody holds any more is not set aside.
"""

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence

from service.observability import Telemetry
from service.tenancy.quota import Ledger, Reservation
from service.tenancy.team import Team


class MeteredLedger:
    """A Ledger around another."""

    def __init__(self, ledger: Ledger, telemetry: Telemetry) -> None:
        self._ledger = ledger
        self._telemetry = telemetry
        self._held: weakref.WeakSet[_Metered] = weakref.WeakSet()

    async def admit(self, team: Team) -> None:
        await self._ledger.admit(team)
        if team.requests_per_minute is not None:
            self._telemetry.count_quota_request(team.name)

    async def reserve(self, team: Team, tokens: int) -> Reservation:
        reservation = await self._ledger.reserve(team, tokens)
        if team.tokens_per_minute is None and team.concurrent_tokens is None:
            return reservation
        metered = _Metered(self, reservation, team.name, tokens)
        self._held.add(metered)
        return metered

    def reserved(self) -> Mapping[str, int]:
        """Tokens set aside by this process now, by team."""
        held: Counter[str] = Counter()
        for one in self._held:
            held[one.team] += one.tokens
        return held

    def settled(self, metered: "_Metered", used_tokens: int) -> None:
        """Called by the reservation, once. No more is charged than was set aside."""
        self._held.discard(metered)
        self._telemetry.count_quota_tokens(metered.team, min(used_tokens, metered.tokens))


class _Metered:
    def __init__(self, ledger: MeteredLedger, reservation: Reservation, team: str, tokens: int) -> None:
        self.team = team
        self.tokens = tokens
        self._ledger = ledger
        self._reservation = reservation
        self._settled = False

    def settle(self, used_tokens: int) -> None:
        self._reservation.settle(used_tokens)
        if not self._settled:
            self._settled = True
            self._ledger.settled(self, used_tokens)


def limits(teams: Sequence[Team]) -> Mapping[tuple[str, str], int]:
    """Quotas by team and by what they limit."""
    return {
        (team.name, quota): limit
        for team in teams
        for quota, limit in (
            ("tokens_per_minute", team.tokens_per_minute),
            ("concurrent_tokens", team.concurrent_tokens),
            ("requests_per_minute", team.requests_per_minute),
        )
        if limit is not None
    }
