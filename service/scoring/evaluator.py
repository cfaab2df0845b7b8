"""The evaluator finds the result of each query: in memory, in a flight that it joins, or by beginning a new flight.

Guarantees: a query that is known, or that another request waits for, is not judged again; between the look into memory
and the joining of flights nothing else runs. A flight goes on when the request that began it is cancelled.

A new flight goes through `shared_lookup` where processes share a cache, and else at once through `submission`.
"""

import asyncio
import logging
from collections.abc import Coroutine, Hashable, Sequence
from typing import Any

from service.cache.key import context_digest, verdict_key
from service.cache.memory import MemoryCache
from service.cache.shared import SharedCache
from service.cache.single_flight import SingleFlight
from service.clock import Clock, wait_all
from service.errors import Cancelled, RubricdError
from service.modes.modes import JudgingMode, ModeResult, Query
from service.rubrics.rubric import Candidate
from service.scheduling import Scheduler
from service.scoring.rendering import Estimate, Rendering
from service.scoring.request import RequestContext, Usage
from service.scoring.results import Pending
from service.scoring.shared_lookup import SharedLookup
from service.scoring.submission import NewQuery, Submission

log = logging.getLogger(__name__)


class Evaluator:
    """`shared` is None where this process shares verdicts with no other."""

    def __init__(
        self, scheduler: Scheduler, memory: MemoryCache[ModeResult], shared: SharedCache[ModeResult] | None = None
    ) -> None:
        self._memory = memory
        self._flights: SingleFlight[ModeResult] = SingleFlight()
        self._starting: set[asyncio.Task[None]] = set()
        self._rendering = Rendering(scheduler)
        self._submission = Submission(scheduler, self._rendering, memory, shared)
        self._shared_lookup: SharedLookup | None = None
        if shared is not None:
            self._shared_lookup = SharedLookup(shared, memory, self._judge_here)

    @property
    def flights(self) -> int:
        """Queries that requests wait for."""
        return len(self._flights)

    @property
    def starting(self) -> int:
        """Requests whose new queries are on their way to the queue."""
        return len(self._starting)

    async def evaluate(
        self, judging_mode: JudgingMode, queries: Sequence[Query], context: RequestContext, usage: Usage
    ) -> list[Pending]:
        """A pending result for each query, in order, once all new ones are in the queue. Raises RequestError where
        they are refused; then none of them is judged."""
        keys, groups = keys_of(judging_mode, queries, context.scope)
        known = self._memory.get_many(keys)
        estimate = None
        if self._shared_lookup is None:
            # What is refused here begins no flight, so no other request can join one that is about to fail. With a
            # shared cache it is not known yet which queries are new: submission asks then.
            estimate = self._admit(queries, keys, known, context)
        pending: list[Pending] = []
        new: list[NewQuery] = []
        for query, key, group in zip(queries, keys, groups, strict=True):
            result = known.get(key)
            if result is not None:
                usage.cache_hits += 1
                pending.append(Pending(result, None))
                continue
            flight, is_new = self._flights.join(key, context.deadline_s)
            pending.append(Pending(None, flight))
            if is_new:
                new.append(NewQuery(judging_mode, query, group, key, flight, context, usage))
            else:
                usage.deduplicated += 1
        if new:
            work = self._submission.submit(new, estimate) if self._shared_lookup is None else self._look_up(new)
            try:
                # Shielded: if this request is cancelled others may wait for its flights, which must go on.
                await asyncio.shield(self._start(work))
            except BaseException:
                for one in pending:
                    one.release()
                raise
        return pending

    async def drain(self, clock: Clock, until_s: float) -> None:
        """Waits for open flights; those left at `until_s` end as cancelled."""
        await wait_all(clock, self._flights.futures, until_s)
        self._flights.fail_all(Cancelled("the service shut down before the judge answered"))

    def _admit(
        self,
        queries: Sequence[Query],
        keys: Sequence[bytes],
        known: dict[bytes, ModeResult],
        context: RequestContext,
    ) -> Estimate | None:
        """Raises Overloaded where new queries have surely no place in the queue. None where there are none."""
        unknown = {key: query for query, key in zip(queries, keys, strict=True) if key not in known}
        new = [query for key, query in unknown.items() if key not in self._flights]
        return self._rendering.admit(new, context) if new else None

    async def _look_up(self, new: Sequence[NewQuery]) -> None:
        assert self._shared_lookup is not None
        here = await self._shared_lookup.look_up(new)
        if here:
            await self._submission.submit(here)

    def _judge_here(self, given_up: Sequence[NewQuery]) -> None:
        self._start(self._submission.submit(given_up))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name="submit queries")
        self._starting.add(task)
        task.add_done_callback(self._started)
        return task

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        error = None if task.cancelled() else task.exception()
        # The waiters of the flights have an error of the service; any other one is a bug, which nobody else reports.
        if error is not None and not isinstance(error, RubricdError):
            log.error("queries could not be submitted", exc_info=error)


def keys_of(judging_mode: JudgingMode, queries: Sequence[Query], scope: str) -> tuple[list[bytes], list[Hashable]]:
    """The cache key of each query, and its group: that of the responses to the same conversation."""
    keys: list[bytes] = []
    groups: list[Hashable] = []
    candidate: Candidate | None = None
    digest, group = b"", 0
    for query in queries:
        if query.candidate is not candidate:  # hashed once for all criteria of a response, which stand together
            candidate = query.candidate
            group = hash(candidate.turns)
            digest = context_digest(
                scope=scope,
                fingerprint=judging_mode.judge.fingerprint,
                turns=[(turn.role, turn.content) for turn in candidate.turns],
                reference=candidate.reference,
                response=candidate.response,
            )
        keys.append(verdict_key(digest, *query.texts, vote=query.vote))
        groups.append(group)
    return keys, groups
