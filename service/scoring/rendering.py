"""Rendering turns queries into prompts, and refuses before that work what the queue has surely no place for.

Tokens are estimated from characters, by what earlier rendering showed. An estimate is low on purpose: the scheduler
checks the exact count when the rendered queries are submitted, so an estimate that is too low costs work, and one that
is too high would refuse a request that fits.
"""

import asyncio
import hashlib
import hmac
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from service.modes.modes import JudgingMode, Query, Step, render_prompts
from service.scheduling import Scheduler, Tenant, costs
from service.scheduling.fair_share import FairShare
from service.scoring.request import RequestContext

_LOW = 0.8
_LEARNED = 0.1

_Waiter = tuple[asyncio.Future[None], int]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Queries that were admitted to rendering."""

    characters: int
    tokens: int


class TokenEstimator:
    def __init__(self) -> None:
        self._tokens_per_character = 0.0

    def estimate(self, characters: int) -> int:
        """Tokens that the engine will compute; 1 at least, and 1 before anything was rendered."""
        return max(1, int(_LOW * self._tokens_per_character * characters))

    def learn(self, characters: int, tokens: int) -> None:
        seen = tokens / max(1, characters)
        before = self._tokens_per_character
        self._tokens_per_character = seen if not before else (1 - _LEARNED) * before + _LEARNED * seen


class FairSemaphore:
    """A few hold a place at a time, by fair share of teams: a place that is released goes to the next waiter in the
    order of shares, and of arrival within a team. A waiter that is cancelled loses no place."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._shares: FairShare[str] = FairShare()
        self._waiters: dict[str, deque[_Waiter]] = {}

    @property
    def idle_places(self) -> int | None:
        """Places that are free; None while anything waits for one."""
        return None if self._waiters else self._free

    async def acquire(self, tenant: Tenant, cost: int) -> None:
        """Waits for a place; call `release` once afterwards. `cost` is what it counts for in the team's share."""
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(tenant.team, deque()).append((place, cost))
        self._shares.enter(tenant.team, tenant.weight)
        try:
            await place
        except asyncio.CancelledError:
            # Cancelled after the place was given, before the waiter ran: it goes on to the next one.
            if place.done() and not place.cancelled():
                self.release()
            raise

    def release(self) -> None:
        if not self._waiters:
            self._free += 1
            return
        while (team := self._shares.next()) is not None:
            waiters = self._waiters[team]
            place, cost = waiters.popleft()
            if not place.cancelled():
                self._shares.charge(team, cost)
            if not waiters:
                del self._waiters[team]
                self._shares.leave(team)
            if not place.cancelled():
                place.set_result(None)
                return
        self._free += 1


class Rendering:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._estimator = TokenEstimator()
        self._tokens: dict[Tenant, int] = {}
        # Half of the cores: the event loop and the engine's own threads need the others.
        self._semaphore = FairSemaphore(max(2, (os.cpu_count() or 1) // 2))
        self._secret = os.urandom(16)

    def rendering_tokens(self, tenant: Tenant) -> int:
        """Estimated tokens that were admitted and are not rendered yet."""
        return self._tokens.get(tenant, 0)

    def admit(self, queries: Sequence[Query], context: RequestContext) -> Estimate:
        """Raises Overloaded or Unavailable where not even the estimate has a place. `render` ends what this begins."""
        characters = count_characters(queries)
        tokens, tenant = self._estimator.estimate(characters), context.tenant
        # What a tenant has in rendering is in no queue yet. Without it many requests at once would all be admitted.
        rendering = tokens + self._tokens.get(tenant, 0)
        self._scheduler.check_capacity(tenant, rendering, context.deadline_s)
        self._tokens[tenant] = rendering
        return Estimate(characters, tokens)

    async def render(
        self, judging_mode: JudgingMode, queries: Sequence[Query], context: RequestContext, estimate: Estimate
    ) -> tuple[list[Step], int]:
        """The first step of each query, in order, and the tokens that the engine will compute for all."""
        tenant = context.tenant
        try:
            await self._semaphore.acquire(tenant, estimate.tokens)
            try:
                # A thread, because tokenising a large request takes longer than others may wait for the event loop.
                salt = self._salt(context.scope)
                prompts = await asyncio.to_thread(render_prompts, judging_mode, queries, salt, context.priority)
            finally:
                self._semaphore.release()
        finally:
            left = self._tokens.pop(tenant) - estimate.tokens
            if left:
                self._tokens[tenant] = left
        steps = [judging_mode.first_step(prompt, query) for prompt, query in zip(prompts, queries, strict=True)]
        tokens = sum(costs([step.query for step in steps]))
        self._estimator.learn(estimate.characters, tokens)
        return steps, tokens

    def _salt(self, scope: str) -> str:
        """Keeps scopes apart in an engine's prefix cache. The secret keeps a caller from guessing another's salt."""
        return hmac.new(self._secret, scope.encode(), hashlib.sha256).hexdigest() if scope else ""


def count_characters(queries: Sequence[Query]) -> int:
    """Characters of their texts. A candidate that queries share, and turns that candidates share, count once."""
    characters = 0
    seen: set[int] = set()
    for query in queries:
        candidate = query.candidate
        if id(candidate) not in seen:
            seen.add(id(candidate))
            characters += len(candidate.response) + len(candidate.reference or "")
            if id(candidate.turns) not in seen:
                seen.add(id(candidate.turns))
                for turn in candidate.turns:
                    characters += len(turn.content)
        for text in query.texts:
            characters += len(text)
    return characters
