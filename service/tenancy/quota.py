"""Quotas limit what a team uses: requests, judge tokens and rule seconds in a minute, and judge tokens at a time.

They are written by hand: rate limiters count requests after the fact, and a quota in tokens must be reserved before the
work and settled after it.

Guarantees: tokens are reserved before the work and settled once after it; what is reserved never exceeds the quota,
however many requests come at once; no more is charged than was reserved. Nobody knows beforehand how long a rule check
takes: its seconds are charged afterwards, and a team that owes seconds gets no more until they have come in.
"""

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.clock import Clock
from service.errors import InvalidRequest, QuotaExceeded
from service.observability import Telemetry
from service.tenancy.team import Team

BUSY_WAIT_S = 1.0
"""When a team's tokens at a time are used up, some of its work must end first. Nobody knows when that is."""


RULE_SECONDS = "rule seconds"


class Reservation(Protocol):
    def settle(self, used_tokens: int) -> None:
        """Frees what was reserved, and gives what was not used back to the minute. Later calls do nothing."""


class Ledger(Protocol):
    async def admit(self, team: Team, requests: int = 1) -> None:
        """Counts so many requests, at most the team's for a minute. Raises QuotaExceeded."""

    async def reserve(self, team: Team, tokens: int) -> Reservation:
        """Raises QuotaExceeded now, or InvalidRequest for more tokens than the team may ever have."""

    async def admit_rules(self, team: Team) -> None:
        """Raises QuotaExceeded where the team has used its seconds of rule checks."""

    def charge_rules(self, team: Team, seconds: float) -> bool:
        """Charges what a rule check took. Returns whether the team may have more."""


@dataclass(slots=True)
class _Bucket:
    """A token bucket. It fills up continuously, by `per_minute` in a minute, and never above it."""

    left: float
    at_s: float

    def wait_s(self, amount: float, per_minute: int, now_s: float) -> float:
        """Seconds until it holds `amount`. 0 when it does now."""
        self.left = min(per_minute, self.left + (now_s - self.at_s) * per_minute / 60)
        self.at_s = now_s
        return max(0.0, (amount - self.left) * 60 / per_minute)


class MemoryLedger:
    """The quotas of one process. A reservation ends with the process, or with its owner: nothing has to expire."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests: dict[str, _Bucket] = {}
        self._tokens: dict[str, _Bucket] = {}
        self._rule_s: dict[str, _Bucket] = {}
        self._held: Counter[str] = Counter()

    async def admit(self, team: Team, requests: int = 1) -> None:
        if team.requests_per_minute is not None:
            self._take(self._requests, team, requests, team.requests_per_minute, "requests")

    async def reserve(self, team: Team, tokens: int) -> Reservation:
        check_possible(team, tokens)
        if team.concurrent_tokens is not None and self._held[team.name] + tokens > team.concurrent_tokens:
            raise exceeded(team, "judge tokens", BUSY_WAIT_S)
        if team.tokens_per_minute is not None:
            self._take(self._tokens, team, tokens, team.tokens_per_minute, "judge tokens")
        self._held[team.name] += tokens
        return _MemoryReservation(self, team, tokens)

    async def admit_rules(self, team: Team) -> None:
        if (wait_s := self.rule_wait_s(team, 0.0)) > 0:
            raise exceeded(team, RULE_SECONDS, wait_s)

    def charge_rules(self, team: Team, seconds: float) -> bool:
        return self.rule_wait_s(team, seconds) == 0

    def rule_wait_s(self, team: Team, seconds: float) -> float:
        """Charges the seconds. Returns when the team owes none any more: 0 where it owes none now."""
        per_minute = team.rule_seconds_per_minute
        if per_minute is None:
            return 0.0
        now_s = self._clock.now()
        bucket = self._rule_s.setdefault(team.name, _Bucket(per_minute, now_s))
        bucket.wait_s(0.0, per_minute, now_s)  # fills it up to now
        bucket.left -= seconds
        return bucket.wait_s(0.0, per_minute, now_s)

    def settle(self, team: Team, reserved_tokens: int, used_tokens: int) -> None:
        """The reservation calls this once."""
        self._held[team.name] -= reserved_tokens
        if team.tokens_per_minute is not None:
            bucket = self._tokens[team.name]
            bucket.left = min(team.tokens_per_minute, bucket.left + max(0, reserved_tokens - used_tokens))

    def _take(self, buckets: dict[str, _Bucket], team: Team, amount: int, per_minute: int, what: str) -> None:
        now_s = self._clock.now()
        bucket = buckets.setdefault(team.name, _Bucket(per_minute, now_s))
        if (wait_s := bucket.wait_s(amount, per_minute, now_s)) > 0:
            raise exceeded(team, what, wait_s)
        bucket.left -= amount


class _MemoryReservation:
    """A reservation that is dropped without being settled counts as used up."""

    def __init__(self, ledger: MemoryLedger, team: Team, tokens: int) -> None:
        self._ledger = ledger
        self._team = team
        self._tokens = tokens
        self._dropped = weakref.finalize(self, ledger.settle, team, tokens, tokens)
        self._dropped.atexit = False

    def settle(self, used_tokens: int) -> None:
        if self._dropped.detach() is not None:
            self._ledger.settle(self._team, self._tokens, used_tokens)


class MeteredLedger:
    """A ledger around another one, which decides. It counts what teams with a quota were admitted, have reserved and
    were charged."""

    def __init__(self, ledger: Ledger, telemetry: Telemetry) -> None:
        self._ledger = ledger
        self._telemetry = telemetry
        self._held: weakref.WeakSet[_MeteredReservation] = weakref.WeakSet()

    async def admit(self, team: Team, requests: int = 1) -> None:
        await self._ledger.admit(team, requests)
        if team.requests_per_minute is not None:
            self._telemetry.count_quota_requests(team.name, requests)

    async def reserve(self, team: Team, tokens: int) -> Reservation:
        reservation = await self._ledger.reserve(team, tokens)
        if team.tokens_per_minute is None and team.concurrent_tokens is None:
            return reservation
        metered = _MeteredReservation(self, reservation, team.name, tokens)
        self._held.add(metered)
        return metered

    async def admit_rules(self, team: Team) -> None:
        await self._ledger.admit_rules(team)

    def charge_rules(self, team: Team, seconds: float) -> bool:
        if team.rule_seconds_per_minute is not None:
            self._telemetry.count_quota_rule_s(team.name, seconds)
        return self._ledger.charge_rules(team, seconds)

    def rule_meter(self, team: Team) -> "RuleMeter":
        """What the rule checks of one request of the team are charged to."""
        return RuleMeter(self, team)

    def reserved(self) -> Mapping[str, int]:
        """Tokens that this process has reserved now, by team. What nobody holds any more does not count."""
        held: Counter[str] = Counter()
        for one in self._held:
            held[one.team] += one.tokens
        return held

    def settled(self, metered: "_MeteredReservation", used_tokens: int) -> None:
        """The reservation calls this once."""
        self._held.discard(metered)
        self._telemetry.count_quota_tokens(metered.team, min(used_tokens, metered.tokens))


@dataclass(frozen=True, slots=True)
class RuleMeter:
    """Charges the rule checks of one request to its team."""

    ledger: Ledger
    team: Team

    async def admit(self) -> None:
        """Raises QuotaExceeded where the team has used its seconds."""
        await self.ledger.admit_rules(self.team)

    def charge(self, seconds: float) -> bool:
        """Returns whether the team may have more."""
        return self.ledger.charge_rules(self.team, seconds)


class _MeteredReservation:
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


def quotas_of(teams: Sequence[Team]) -> Mapping[tuple[str, str], int]:
    """The quotas that there are, by team and by what they limit."""
    return {
        (team.name, quota): limit
        for team in teams
        for quota, limit in (
            ("tokens_per_minute", team.tokens_per_minute),
            ("concurrent_tokens", team.concurrent_tokens),
            ("requests_per_minute", team.requests_per_minute),
            ("rule_seconds_per_minute", team.rule_seconds_per_minute),
        )
        if limit is not None
    }


def check_possible(team: Team, tokens: int) -> None:
    """Raises InvalidRequest for what would be refused for ever."""
    limits = [limit for limit in (team.tokens_per_minute, team.concurrent_tokens) if limit is not None]
    if limits and tokens > min(limits):
        what = f"this needs {tokens} judge tokens, and team {team.name} may have {min(limits)}; send fewer items"
        raise InvalidRequest("the request is larger than the team's quota", ((("items",), what),))


def exceeded(team: Team, what: str, wait_s: float) -> QuotaExceeded:
    return QuotaExceeded(f"team {team.name} has used its quota of {what}; try again later", wait_s)
