"""Rendering turns queries into prompts, and refuses before that work what the queue has surely no place for.

Tokens are estimated from characters, by what earlier rendering of the same team showed. An estimate is low on purpose:
the scheduler checks the exact count when the rendered queries are submitted, so an estimate that is too low costs work,
and one that is too high would refuse a request that fits.

Rendering is shared out by team, by the time that it takes, and it stops where nobody waits for it any more.
"""

import asyncio
import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.engine.base import Prompt
from service.errors import TooLong
from service.modes.modes import JudgingMode, Query, Step
from service.rubrics.rubric import Candidate
from service.scheduling import Scheduler, Tenant
from service.scoring.fair_places import FairPlaces
from service.scoring.prompt_work import PromptWork
from service.scoring.request import RequestContext

_LOW = 0.8
_LEARNED = 0.1

_SLICE_S = 0.01
"""Rendering holds its place for about so long; then it is handed on if others wait."""

_DENSEST = 8
"""More characters of one text than this many for each token of the judge's context do not raise an estimate."""

Rendered = Step | TooLong | None
"""The first step of a query; the reason why it has none; or neither, where nobody waits for it any more."""


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


class Rendering:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._estimators: dict[str, TokenEstimator] = {}
        self._of_all_teams = TokenEstimator()
        self._tokens: dict[Tenant, int] = {}
        # Half of the cores: the event loop and the engine's own threads need the others.
        self._places = FairPlaces(max(2, (os.cpu_count() or 1) // 2))
        self._secret = os.urandom(16)

    def rendering_tokens(self, tenant: Tenant) -> int:
        """Estimated tokens that were admitted and are not rendered yet."""
        return self._tokens.get(tenant, 0)

    def admit(self, queries: Sequence[Query], context: RequestContext) -> Estimate:
        """Raises Overloaded or Unavailable where not even the estimate has a place. `finish` ends what this begins."""
        tenant = context.tenant
        characters = count_characters(queries, _DENSEST * self._scheduler.max_model_len)
        # Another team's texts may be of another kind, so they count for teams of which nothing is known.
        tokens = self._estimators.get(tenant.team, self._of_all_teams).estimate(characters)
        # What a tenant has in rendering is in no queue yet. Without it many requests at once would all be admitted.
        rendering = tokens + self._tokens.get(tenant, 0)
        self._scheduler.check_capacity(tenant, rendering, context.deadline_s)
        self._tokens[tenant] = rendering
        return Estimate(characters, tokens)

    def finish(self, context: RequestContext, estimate: Estimate, rendered_tokens: int | None) -> None:
        """The queries are rendered, and the engine will compute so many tokens for them; None where they were not."""
        left = self._tokens.pop(context.tenant) - estimate.tokens
        if left:
            self._tokens[context.tenant] = left
        if rendered_tokens is not None:
            own = self._estimators.setdefault(context.tenant.team, TokenEstimator())
            for estimator in (own, self._of_all_teams):
                estimator.learn(estimate.characters, rendered_tokens)

    async def render(
        self,
        judging_mode: JudgingMode,
        queries: Sequence[Query],
        context: RequestContext,
        waited_for: Callable[[int], bool],
    ) -> list[Rendered]:
        """The first step of each query, in order. `waited_for` says of one, by its index, whether anybody waits."""
        work = PromptWork(
            judging_mode,
            queries,
            salt=self._salt(context.scope),
            priority=context.priority,
            limit_tokens=self._scheduler.max_model_len,
            waited_for=waited_for,
        )
        await self._in_slices(work, context.tenant)
        return [
            _first_step(judging_mode, prompt, query) if isinstance(prompt, Prompt) else prompt
            for prompt, query in zip(work.prompts, queries, strict=True)
        ]

    async def _in_slices(self, work: PromptWork, tenant: Tenant) -> None:
        """Tokenising a large request takes longer than others may wait: for the event loop, so it is done in a thread,
        and for a place, so it is done in slices."""
        clock, places = self._scheduler.clock, self._places
        await places.acquire(tenant)
        done = False
        while not done:
            began_s = clock.now()
            try:
                done = await asyncio.to_thread(work.run, clock, _SLICE_S)
            except BaseException:
                places.release(tenant, clock.now() - began_s)
                raise
            if not done:
                await places.hand_on(tenant, clock.now() - began_s)
        places.release(tenant, clock.now() - began_s)

    def _salt(self, scope: str) -> str:
        """Keeps scopes apart in an engine's prefix cache. The secret keeps a caller from guessing another's salt."""
        return hmac.new(self._secret, scope.encode(), hashlib.sha256).hexdigest() if scope else ""


def _first_step(judging_mode: JudgingMode, prompt: Prompt, query: Query) -> Step | TooLong:
    try:
        return judging_mode.first_step(prompt, query)
    except TooLong as error:
        return error.with_traceback(None)


def count_characters(queries: Sequence[Query], most: int) -> int:
    """Characters of their texts, each up to `most`. A candidate that queries share, and turns that candidates share,
    count once."""
    characters = 0
    candidate: Candidate | None = None
    seen: set[int] = set()
    for query in queries:
        if query.candidate is not candidate:  # queries about one candidate stand together
            candidate = query.candidate
            characters += sum(min(len(part), most) for part in candidate.parts)
            characters += min(len(candidate.reference or ""), most)
            if id(candidate.turns) not in seen:
                seen.add(id(candidate.turns))
                for turn in candidate.turns:
                    characters += min(len(turn.content), most)
        texts = [one.text for one in candidate.criteria] if query.criterion is None else query.criterion.shown
        for text in texts:
            characters += min(len(text), most)
    return characters
