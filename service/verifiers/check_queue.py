"""The check queue holds the rule checks that wait for a process, bounds them by team and in all, and shares them out.

Guarantees: teams get the processes by their weights, in seconds of checks; with `workers` processes and a spare one, a
team that has no check running gets the spare one, so that it waits for at most one check of the others. A team that has
nothing waiting is admitted, whatever others have waiting. The state is pure: each function decides and returns.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.errors import InvalidRequest, Overloaded
from service.scheduling.fair_share import FairShare, Tenant
from service.settings import RuleSettings

FIRST_GUESS_S = 0.01
"""What a check is taken to last before any was measured."""


W = TypeVar("W")
"""What waits: a check, or a batch of cheap ones."""


@dataclass(frozen=True, slots=True)
class Turn(Generic[W]):
    """What a process gets next. `planned_s` was charged for it; `finish` corrects that."""

    work: W
    team: str
    planned_s: float


class CheckQueue(Generic[W]):
    def __init__(self, settings: RuleSettings) -> None:
        self._workers = settings.rule_workers
        self._max_request = settings.max_request_checks
        self._max_team = settings.max_team_queued_checks
        self._max_queued = settings.max_queued_checks
        self._share: FairShare[str] = FairShare()
        self._queues: dict[str, deque[W]] = {}
        self._weights: dict[str, float] = {}
        self._running: Counter[str] = Counter()
        self._mean_s: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """Checks that wait for a process."""
        return sum(len(queue) for queue in self._queues.values())

    @property
    def waiting_by_team(self) -> Mapping[str, int]:
        """Of each team that has had checks, also where none waits."""
        return dict.fromkeys(self._mean_s, 0) | {team: len(queue) for team, queue in self._queues.items()}

    def admit(self, tenant: Tenant, checks: int) -> None:
        """Raises InvalidRequest for more checks than a request may have, Overloaded for more than may wait now."""
        if checks > self._max_request:
            what = f"{checks} rule checks in one request; at most {self._max_request}; send fewer items"
            raise InvalidRequest("the request has more rule checks than one request may have", ((("items",), what),))
        own = len(self._queues.get(tenant.team, ()))
        if not own:
            return  # others have no part in what this team waits for, and a request is bounded
        excess = own + checks - self._max_team
        # Above the limit in all, a team may still have what an equal division of the limit gives it.
        if self.waiting + checks > self._max_queued:
            excess = max(excess, own + checks - self._max_queued // len(self._queues))
        if excess > 0:
            message = f"too many rule checks of team {tenant.team} wait; try again later"
            raise Overloaded(message, self._retry_after_s(tenant, excess))

    def add(self, tenant: Tenant, work: Iterable[W]) -> None:
        """They wait from now on, behind what the team has waiting."""
        self._queues.setdefault(tenant.team, deque()).extend(work)
        self._weights[tenant.team] = tenant.weight
        self._share.enter(tenant.team, tenant.weight)
        self._forget_if_empty(tenant.team)

    def remove(self, team: str, leaves: Callable[[W], bool]) -> list[W]:
        """Takes out, and returns, what `leaves` of the team."""
        gone: list[W] = []
        if (queue := self._queues.get(team)) is not None:
            gone = [work for work in queue if leaves(work)]
            self._queues[team] = deque(work for work in queue if not leaves(work))
            self._forget_if_empty(team)
        return gone

    def take(self, free: int) -> Turn[W] | None:
        """What one of `free` processes gets next; None where nothing may have one."""
        team = self._next_team(free)
        if team is None:
            return None
        turn = Turn(self._queues[team].popleft(), team, self._mean_of(team))
        self._share.charge(team, turn.planned_s)
        self._running[team] += 1
        self._forget_if_empty(team)
        return turn

    def finish(self, turn: Turn[W], check_s: float) -> None:
        """The check is over and took so long. About the last twenty checks make up the mean."""
        self._running[turn.team] -= 1
        if not self._running[turn.team]:
            del self._running[turn.team]
        mean_s = self._mean_of(turn.team)
        self._mean_s[turn.team] = mean_s + (check_s - mean_s) / 20
        away = turn.team not in self._queues
        if away:
            self._share.enter(turn.team, self._weights[turn.team])
        self._share.charge(turn.team, check_s - turn.planned_s)
        if away:
            self._share.leave(turn.team)

    def clear(self) -> list[W]:
        """Nothing waits any more. Returns what did."""
        return [work for team in list(self._queues) for work in self.remove(team, lambda _: True)]

    def _next_team(self, free: int) -> str | None:
        if free <= 0:
            return None
        if free > 1:
            return self._share.next(self._queued_s)
        # The last process is for a team that has none: else a team with long checks holds up all others.
        return next((team for team in self._queues if not self._running[team]), None)

    def _queued_s(self, team: str) -> float:
        return len(self._queues[team]) * self._mean_of(team)

    def _mean_of(self, team: str) -> float:
        # Each team has a mean of its own: planned by a common one, a team's short checks paid for another's long ones.
        return self._mean_s.get(team, FIRST_GUESS_S)

    def _forget_if_empty(self, team: str) -> None:
        if not self._queues[team]:
            del self._queues[team]
            self._share.leave(team)

    def _retry_after_s(self, tenant: Tenant, checks: int) -> float:
        """Seconds until so many checks of the team are done at the measured rate and at its share, from 1 to 60."""
        others = sum(self._weights[team] for team in self._queues if team != tenant.team)
        share = tenant.weight / (tenant.weight + others)
        return min(60.0, max(1.0, math.ceil(checks * self._mean_of(tenant.team) / (self._workers * share))))
