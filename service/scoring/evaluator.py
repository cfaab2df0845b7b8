"""The evaluator finds the result of each query: in memory, in a flight that it joins, or by beginning a new flight.

Guarantees: a query that is known, or that another request waits for, is not judged again; between the look into memory
for a query and the joining of its flight nothing else runs. A flight goes on when the request that began it is
cancelled, and a request waits for nothing past its deadline. A request that refreshes or bypasses the cache shares no
flight with another.

A new flight goes through `shared_lookup` where processes share a cache, and else at once through `submission`.
"""

import asyncio
import itertools
import logging
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.cache.memory import MemoryCache
from service.cache.shared import SharedCache
from service.cache.single_flight import SingleFlight
from service.clock import Clock, Turns, wait_all
from service.errors import Cancelled, RubricdError, TooLong
from service.modes.modes import JudgingMode, ModeResult, Query
from service.scheduling import Scheduler
from service.scoring.query_keys import KeyedRun, QueryKeys
from service.scoring.rendering import Estimate, Rendering
from service.scoring.request import RequestContext, Usage
from service.scoring.results import BothAskings, Pending
from service.scoring.shared_lookup import SharedLookup
from service.scoring.submission import NewQuery, Submission

log = logging.getLogger(__name__)

_RUN = 512
"""Queries that are handled at a time without a rest."""


class Evaluator:
    """`shared` is None where this process shares verdicts with no other."""

    def __init__(
        self, scheduler: Scheduler, memory: MemoryCache[ModeResult], shared: SharedCache[ModeResult] | None = None
    ) -> None:
        self._scheduler = scheduler
        self._memory = memory
        self._flights: SingleFlight[ModeResult] = SingleFlight()
        self._alone = itertools.count()
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
        """A pending result for each query, in order, once all new ones are in the queue or the deadline has passed.
        Raises RequestError where they are refused; then none of them is judged."""
        turns = Turns()
        keys = QueryKeys(judging_mode, context.scope, self._scheduler.max_model_len)
        runs: list[KeyedRun] = []
        for part in runs_of(queries):
            runs.append(await keys.of_run(part))
            await turns.rest()
        # What is refused here begins no flight, so no other request can join one that is about to fail. With a shared
        # cache it is not known yet which queries are new: submission asks then.
        looked_up = self._shared_lookup is not None and context.cache == "use"
        estimate = None if looked_up else await self._admit(runs, context, turns)
        joined = _Joined(judging_mode, context, usage, keys.too_long)
        join = self._join if context.cache == "use" else self._join_none
        try:
            for run in runs:
                join(run, joined)
                await turns.rest()
        except BaseException:
            # Cancelled on the way: what another request has joined by now must be judged all the same.
            self._begin(joined, estimate)
            joined.release()
            raise
        if (begun := self._begin(joined, estimate)) is not None:
            try:
                # Not cancelled with this request: others may wait for its flights, which must go on.
                await wait_all(self._scheduler.clock, [begun], context.deadline_s)
                if begun.done():
                    begun.result()
            except BaseException:
                joined.release()
                raise
        return joined.pending

    def _join(self, run: KeyedRun, joined: "_Joined") -> None:
        """Nothing else runs between the look into memory and the joining of flights."""
        context, usage = joined.context, joined.usage
        known = self._memory.get_many([key for key in run.keys if key is not None])
        for query, key in zip(run.queries, run.keys, strict=True):
            if key is None:
                joined.pending.append(Pending(None, None, joined.too_long))
                continue
            result = known.get(key)
            if result is not None:
                usage.cache_hits += query.judgements
                joined.pending.append(Pending(result, None))
                continue
            flight, is_new = self._flights.join(key, context.deadline_s)
            joined.pending.append(Pending(None, flight))
            if is_new:
                joined.new.append(NewQuery(joined.judging_mode, query, run.group, key, flight, context, usage))
            else:
                usage.deduplicated += query.judgements

    def _join_none(self, run: KeyedRun, joined: "_Joined") -> None:
        """Flights of this request's own, under keys that no other request has."""
        if joined.number is None:
            joined.number = next(self._alone)
        for query, key in zip(run.queries, run.keys, strict=True):
            if key is None:
                joined.pending.append(Pending(None, None, joined.too_long))
                continue
            if joined.context.cache == "refresh":
                flight, is_new = self._flights.join(b"refresh %d " % joined.number + key, joined.context.deadline_s)
            else:
                flight, is_new = self._flights.join(b"bypass %d" % next(self._alone), joined.context.deadline_s)
            joined.pending.append(Pending(None, flight))
            if is_new:
                joined.new.append(
                    NewQuery(joined.judging_mode, query, run.group, key, flight, joined.context, joined.usage)
                )
            else:
                joined.usage.deduplicated += query.judgements

    def _begin(self, joined: "_Joined", estimate: Estimate | None) -> asyncio.Task[None] | None:
        """Starts to judge what is new; None where nothing is."""
        if joined.new:
            if self._shared_lookup is not None and joined.context.cache == "use":
                return self._start(self._look_up(joined.new))
            return self._start(self._submission.submit(joined.new, estimate))
        if estimate is not None:
            self._rendering.finish(joined.context, estimate, None)
        return None

    async def drain(self, clock: Clock, until_s: float) -> None:
        """Waits for open flights; those left at `until_s` end as cancelled."""
        await wait_all(clock, self._flights.futures, until_s)
        self._flights.fail_all(Cancelled("the service shut down before the judge answered"))

    async def _admit(self, runs: Sequence[KeyedRun], context: RequestContext, turns: Turns) -> Estimate | None:
        """Raises Overloaded where new queries have surely no place in the queue. None where there are none."""
        new: dict[bytes, Query] = {}
        again: list[Query] = []
        for run in runs:
            for query, key in zip(run.queries, run.keys, strict=True):
                if key is None:
                    continue
                if context.cache == "bypass":
                    again.append(query)
                elif context.cache == "refresh" or (key not in self._memory and key not in self._flights):
                    new.setdefault(key, query)
            await turns.rest()
        queries = again or list(new.values())
        return self._rendering.admit(queries, context) if queries else None

    async def _look_up(self, new: Sequence[NewQuery]) -> None:
        assert self._shared_lookup is not None
        try:
            here = await self._shared_lookup.look_up(new)
        except Exception as error:  # a bug, as a shared cache raises nothing: the waiters are answered all the same
            self._submission.refuse(new, error)
            raise
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


@dataclass(slots=True)
class _Joined:
    """The results that one call of `evaluate` has so far, and the queries among them that are new."""

    judging_mode: JudgingMode
    context: RequestContext
    usage: Usage
    too_long: TooLong
    pending: list[Pending] = field(default_factory=list)
    new: list[NewQuery] = field(default_factory=list)
    number: int | None = None

    def release(self) -> None:
        release_all(self.pending)


def release_all(pending: Sequence[Pending | BothAskings], start: int = 0) -> None:
    """Nothing waits for these any more. Very many are released in parts, between which the event loop goes on."""
    for one in pending[start : start + _RUN]:
        one.release()
    if start + _RUN < len(pending):
        asyncio.get_running_loop().call_soon(release_all, pending, start + _RUN)


def runs_of(queries: Sequence[Query]) -> Iterator[Sequence[Query]]:
    """Queries about one candidate, which stand together; of very many, parts."""
    start = 0
    for stop in range(1, len(queries) + 1):
        end = stop == len(queries) or queries[stop].candidate is not queries[start].candidate
        if end or stop - start == _RUN:
            yield queries[start:stop]
            start = stop
