"""What is let in to wait: as much as the judge can compute in time, and of that each team its share.

Always true: what is let in with others waiting leaves no more than twice the limit waiting; a refusal says when to come
back; with nothing waiting everything is let in, and before anything was measured nothing is refused for its deadline.
"""

import math

from service.clock import Clock
from service.errors import Overloaded
from service.scheduling.backlog import Backlog
from service.scheduling.fair_share import Tenant
from service.scheduling.rate import Rate

_PLANNED = 0.8
"""Of the time until a deadline: the rest is for teams that come later and shrink one's share."""


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
