"""What is let in to wait: as much as the judge can compute in time, and of that each team its share.

Always true: what is let in with others waiting leaves no more than twice the limit waiting; a refusal says when to come
back; with nothing waiting everything is let in, and before anything was measured nothing is refused for its deadline.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence

from service.clock import Clock
from service.engine.base import EngineQuery, GenerationQuery, Prompt, common_length
from service.errors import Overloaded
from service.scheduling.fair_share import CLASS_WEIGHTS, PriorityClass, Tenant

_PLANNED = 0.8
"""Of the time until a deadline: the rest is for teams that come later and shrink one's share."""

_KEPT = 0.9
_RECENT = 16


def cost_of(query: EngineQuery, before: Prompt | None) -> int:
    """Tokens that `query` makes the engine compute when it follows `before`: what both begin with counts once."""
    prompt = query.prompt
    known = 0 if before is None else common_length(before, prompt)
    written = query.sampling.max_tokens if isinstance(query, GenerationQuery) else 0
    return len(prompt) - known + written


def costs(queries: Sequence[EngineQuery]) -> list[int]:
    """Tokens that each query makes the engine compute, in this order."""
    before = [None, *(query.prompt for query in queries)][: len(queries)]
    return [cost_of(query, prompt) for query, prompt in zip(queries, before, strict=True)]


class Backlog:
    def __init__(self) -> None:
        self.tokens = 0
        self._by_team: dict[str, dict[PriorityClass, int]] = {}
        self._weights: dict[str, float] = {}

    def add(self, tenant: Tenant, tokens: int) -> None:
        self._weights[tenant.team] = tenant.weight
        self._count(tenant, tokens)

    def remove(self, tenant: Tenant, tokens: int) -> None:
        self._count(tenant, -tokens)

    def of(self, tenant: Tenant) -> int:
        return self._by_team.get(tenant.team, {}).get(tenant.priority_class, 0)

    def of_team(self, team: str) -> int:
        return sum(self._by_team.get(team, {}).values())

    def by_class(self) -> Mapping[tuple[str, str], int]:
        return {(team, kind): tokens for team, kinds in self._by_team.items() for kind, tokens in kinds.items()}

    def share(self, tenant: Tenant) -> float:
        """What the flow gets of the judge while those that have work now, and itself, go on having it."""
        others = sum(weight for team, weight in self._weights.items() if team != tenant.team)
        kinds = {tenant.priority_class, *self._by_team.get(tenant.team, {})}
        part = CLASS_WEIGHTS[tenant.priority_class] / sum(CLASS_WEIGHTS[kind] for kind in kinds)
        return part * tenant.weight / (tenant.weight + others)

    def _count(self, tenant: Tenant, tokens: int) -> None:
        self.tokens += tokens
        by_kind = self._by_team.setdefault(tenant.team, {})
        by_kind[tenant.priority_class] = by_kind.get(tenant.priority_class, 0) + tokens
        if not by_kind[tenant.priority_class]:
            del by_kind[tenant.priority_class]
        if not by_kind:
            del self._by_team[tenant.team], self._weights[tenant.team]


class Rate:
    """`tokens_per_s` is None before anything was measured."""

    def __init__(self) -> None:
        self._running = 0
        self._since_s = 0.0
        self._tokens = 0.0
        self._seconds = 0.0
        self._uncounted_s = 0.0

    @property
    def tokens_per_s(self) -> float | None:
        return self._tokens / self._seconds if self._seconds > 0 and self._tokens > 0 else None

    def begin(self, now_s: float) -> None:
        self._pass(now_s)
        self._running += 1

    def end(self, now_s: float, tokens: int | None) -> float:
        """A batch left the engine; None: it failed. Returns its part of the time in which the engine was busy."""
        self._pass(now_s)
        self._running -= 1
        if tokens is not None:
            self._tokens = _KEPT * self._tokens + tokens
            self._seconds = _KEPT * self._seconds + self._uncounted_s
        busy_s, self._uncounted_s = self._uncounted_s, 0.0
        return busy_s

    def _pass(self, now_s: float) -> None:
        if self._running:
            self._uncounted_s += now_s - self._since_s
        self._since_s = now_s


class Quickest:
    """The shortest of the last times that batches took: what the next one takes at least."""

    def __init__(self) -> None:
        self._recent_s: deque[float] = deque(maxlen=_RECENT)

    @property
    def seconds(self) -> float:
        """0 before anything was measured."""
        return min(self._recent_s, default=0.0)

    def count(self, seconds: float) -> None:
        self._recent_s.append(seconds)


class Gate:
    """`max_tokens` may wait, and no more than `max_s` seconds of work at the measured rate."""

    def __init__(self, clock: Clock, backlog: Backlog, rate: Rate, *, max_tokens: int, max_s: float) -> None:
        self._clock = clock
        self._backlog = backlog
        self._rate = rate
        self._max_tokens = max_tokens
        self._max_s = max_s

    @property
    def limit(self) -> float:
        """In tokens."""
        rate = self._rate.tokens_per_s
        return self._max_tokens if rate is None else min(self._max_tokens, self._max_s * rate)

    def check(self, tenant: Tenant, tokens: int, deadline_s: float | None, flying_tokens: int) -> None:
        """Raises Overloaded. `flying_tokens` are at the engine."""
        if not self._backlog.tokens:
            return
        self._check_limit(tenant, tokens)
        if deadline_s is not None:
            self._check_deadline(tenant, tokens, deadline_s, flying_tokens)

    def _check_limit(self, tenant: Tenant, tokens: int) -> None:
        """Over the limit a team's class is let in that has nothing waiting, or no more than its share."""
        limit, share, own = self.limit, self._backlog.share(tenant), self._backlog.of(tenant)
        excess = self._backlog.tokens + tokens - limit
        own_excess = own + tokens - share * limit if own else 0.0
        if excess <= 0 or (own_excess <= 0 and excess <= limit):
            return
        wait_s = self._seconds(min(excess, own_excess / share) if excess <= limit else excess - limit)
        raise Overloaded("the judge's queue is full; try again later", wait_s)

    def _check_deadline(self, tenant: Tenant, tokens: int, deadline_s: float, flying_tokens: int) -> None:
        now, rate = self._clock.now(), self._rate.tokens_per_s
        if rate is None or deadline_s <= now:  # what is late already is answered so, without the judge
            return
        own = (self._backlog.of(tenant) + tokens) / self._backlog.share(tenant)
        ahead = flying_tokens + min(self._backlog.tokens + tokens, own)
        late = ahead - _PLANNED * (deadline_s - now) * rate
        if late > 0:
            raise Overloaded("the judge cannot answer this by its deadline; try again later", self._seconds(late))

    def _seconds(self, tokens: float) -> float:
        """Until so many are computed, 1 to 60; 1 before anything was measured."""
        rate = self._rate.tokens_per_s
        return 1.0 if rate is None else min(60.0, max(1.0, math.ceil(tokens / rate)))
