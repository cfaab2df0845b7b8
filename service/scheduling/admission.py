"""Admission control admits as much work as the judge can compute in time, and of that each tenant its share.

Guarantees: work that is admitted while other work is queued leaves at most twice the limit queued. A refusal says when
to come back. With nothing queued everything is admitted, and before anything was measured nothing is refused for its
deadline.
"""

import math
from collections.abc import Mapping, Sequence

from service.clock import Clock
from service.engine.base import EngineQuery, GenerationQuery, Prompt, common_length
from service.errors import Overloaded
from service.scheduling.fair_share import CLASS_WEIGHTS, PriorityClass, Tenant

_PLANNED_FRACTION = 0.8
"""The part of the time until a deadline that work is planned into. A tenant's share shrinks when others come later:
with the whole time, a fifth of the computed tokens belonged to requests that were then late (decision 8)."""

_KEPT_FRACTION = 0.9
"""The part of what was measured before that is kept when the next batch is measured."""


def cost_of(query: EngineQuery, previous: Prompt | None) -> int:
    """Tokens that the engine computes for `query` right after `previous`: what both prompts begin with counts once. A
    generation counts with its longest possible text."""
    prompt = query.prompt
    shared = 0 if previous is None else common_length(previous, prompt)
    generated = query.sampling.max_tokens if isinstance(query, GenerationQuery) else 0
    return len(prompt) - shared + generated


def batch_limit(first: Prompt, prompt: Prompt, batch_tokens: int) -> int:
    """The most tokens of a batch that begins with `first`, where `prompt` is to join it. If both have one prefix it is
    a quarter more than `first` has, so that a long one is not computed again for each query: engine `local` takes as
    many in one pass (`plan_passes`)."""
    if first.shared and prompt.shared is first.shared:
        return max(batch_tokens, len(first) + batch_tokens // 4)
    return batch_tokens


def costs(queries: Sequence[EngineQuery], batch_tokens: int | None = None) -> list[int]:
    """Tokens that the engine computes for each query, if it gets them in this order: in batches of so many, each of
    which begins without any prefix, or, for None, with all prefixes kept."""
    tokens: list[int] = []
    first = previous = None
    batch = 0
    for query in queries:
        cost = cost_of(query, previous)
        if batch_tokens is not None:
            if first is not None and batch + cost > batch_limit(first, query.prompt, batch_tokens):
                cost, first, batch = cost_of(query, None), None, 0
            first, batch = query.prompt if first is None else first, batch + cost
        tokens.append(cost)
        previous = query.prompt
    return tokens


class QueuedTokens:
    """Counts the tokens that are queued, by team and priority class. A tenant with nothing queued has no entry."""

    def __init__(self) -> None:
        self.total = 0
        self._by_team: dict[str, dict[PriorityClass, int]] = {}
        self._weights: dict[str, float] = {}

    def add(self, tenant: Tenant, tokens: int) -> None:
        self.total += tokens
        self._weights[tenant.team] = tenant.weight
        by_class = self._by_team.setdefault(tenant.team, {})
        by_class[tenant.priority_class] = by_class.get(tenant.priority_class, 0) + tokens

    def remove(self, tenant: Tenant, tokens: int) -> None:
        self.total -= tokens
        by_class = self._by_team[tenant.team]
        by_class[tenant.priority_class] -= tokens
        if not by_class[tenant.priority_class]:
            del by_class[tenant.priority_class]
        if not by_class:
            del self._by_team[tenant.team], self._weights[tenant.team]

    def of(self, tenant: Tenant) -> int:
        return self._by_team.get(tenant.team, {}).get(tenant.priority_class, 0)

    def of_team(self, team: str) -> int:
        return sum(self._by_team.get(team, {}).values())

    def by_class(self) -> Mapping[tuple[str, str], int]:
        return {(team, name): tokens for team, names in self._by_team.items() for name, tokens in names.items()}

    def share(self, tenant: Tenant) -> float:
        """The part of the judge that the tenant gets while it has work and the others that have work now keep it.

        It is the share of the class within its team: with the share of the whole team, three classes that asked for too
        much got a third each, whatever the order in the queue.
        """
        others = sum(weight for team, weight in self._weights.items() if team != tenant.team)
        classes = {tenant.priority_class, *self._by_team.get(tenant.team, {})}
        part = CLASS_WEIGHTS[tenant.priority_class] / sum(CLASS_WEIGHTS[name] for name in classes)
        return part * tenant.weight / (tenant.weight + others)


class ThroughputEstimate:
    """Measures how fast the judge computes, from finished batches.

    The time with a batch at the engine counts, once however many batches are there; idle time does not. A failed batch
    counts neither as tokens nor as time. A batch weighs by its length, so that a short one, or a slow start, is soon
    outweighed; a mean of the batches' rates took one tiny batch for a slow judge.
    """

    def __init__(self) -> None:
        self._running = 0
        self._counted_until_s = 0.0
        self._tokens = 0.0
        self._seconds = 0.0

    @property
    def tokens_per_s(self) -> float | None:
        """None before anything was measured."""
        return self._tokens / self._seconds if self._seconds > 0 and self._tokens > 0 else None

    def start_batch(self, now_s: float) -> None:
        if not self._running:
            self._counted_until_s = now_s
        self._running += 1

    def finish_batch(self, now_s: float, tokens: int | None) -> float:
        """`tokens` is None for a batch that failed. Returns the batch's part of the engine's busy time, in seconds."""
        busy_s = now_s - self._counted_until_s
        self._counted_until_s = now_s
        self._running -= 1
        if tokens is not None:
            self._tokens = _KEPT_FRACTION * self._tokens + tokens
            self._seconds = _KEPT_FRACTION * self._seconds + busy_s
        return busy_s


class AdmissionControl:
    """At most `max_tokens` may be queued, and at most `max_s` seconds of work at the measured throughput."""

    def __init__(
        self, clock: Clock, queued: QueuedTokens, throughput: ThroughputEstimate, *, max_tokens: int, max_s: float
    ) -> None:
        self._clock = clock
        self._queued = queued
        self._throughput = throughput
        self._max_tokens = max_tokens
        self._max_s = max_s

    @property
    def limit_tokens(self) -> float:
        tokens_per_s = self._throughput.tokens_per_s
        return self._max_tokens if tokens_per_s is None else min(self._max_tokens, self._max_s * tokens_per_s)

    def check(self, tenant: Tenant, tokens: int, deadline_s: float | None, in_flight_tokens: int) -> None:
        """Raises Overloaded. `deadline_s` is a point on the clock; `in_flight_tokens` are at the engine."""
        # A judge with nothing queued is always tried: a slow measurement would otherwise keep it from being measured
        # again, and a request that is too long for its deadline still gets a partial score.
        if not self._queued.total:
            return
        self._check_limit(tenant, tokens)
        if deadline_s is not None:
            self._check_deadline(tenant, tokens, deadline_s, in_flight_tokens)

    def _check_limit(self, tenant: Tenant, tokens: int) -> None:
        limit, share, own = self.limit_tokens, self._queued.share(tenant), self._queued.of(tenant)
        excess = self._queued.total + tokens - limit
        # Over the limit a tenant is admitted that has nothing queued or stays within its share of the limit, so that a
        # noisy neighbour that fills the queue does not shut it out.
        own_excess = own + tokens - share * limit if own else 0.0
        # Twice the limit is a bound of its own, since tenants that come one after another take more than the whole: the
        # shares that n equal teams have when they come sum to 1 + 1/2 + ... + 1/n, which passes 2 at four teams.
        if excess <= 0 or (own_excess <= 0 and excess <= limit):
            return
        # Within twice the limit the tenant may come back when the queue is at the limit or, if that is sooner, when its
        # own part has shrunk to its share. Above, the queue has to shrink to twice the limit first.
        excess_tokens = min(excess, own_excess / share) if excess <= limit else excess - limit
        raise Overloaded("the judge's queue is full; try again later", self._retry_after_s(excess_tokens))

    def _check_deadline(self, tenant: Tenant, tokens: int, deadline_s: float, in_flight_tokens: int) -> None:
        now_s, tokens_per_s = self._clock.now(), self._throughput.tokens_per_s
        # A deadline that has passed is not a matter of load: the queue answers it as a timeout, without the judge.
        if tokens_per_s is None or deadline_s <= now_s:
            return
        # The work ends after what the engine has, and then after all that is queued or after the tenant's own work at
        # its share, whichever is sooner. The request itself counts in both: without it, goodput under overload fell to
        # 25 of 40.
        own_tokens = (self._queued.of(tenant) + tokens) / self._queued.share(tenant)
        tokens_until_done = in_flight_tokens + min(self._queued.total + tokens, own_tokens)
        late_tokens = tokens_until_done - _PLANNED_FRACTION * (deadline_s - now_s) * tokens_per_s
        if late_tokens > 0:
            message = "the judge cannot answer this by its deadline; try again later"
            raise Overloaded(message, self._retry_after_s(late_tokens))

    def _retry_after_s(self, tokens: float) -> float:
        """Seconds until so many tokens are computed, from 1 to 60; 1 before anything was measured."""
        tokens_per_s = self._throughput.tokens_per_s
        return 1.0 if tokens_per_s is None else min(60.0, max(1.0, math.ceil(tokens / tokens_per_s)))
