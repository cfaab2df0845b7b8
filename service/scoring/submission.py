"""Submission takes new queries through rendering, reservation, queue and steps to their verdicts.

Guarantees: what refuses the queries fails all of them, and what was reserved for them is settled once, when the last of
them has ended. A verdict that does not abstain is in the caches before another request can ask for it; a failure, an
abstention, or what bypasses the cache, is in none.
"""

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from service.cache.memory import MemoryCache
from service.cache.shared import SharedCache
from service.cache.single_flight import Flight
from service.clock import Turns
from service.engine.base import Decision, Documents, EngineQuery, EngineResult, Generation
from service.errors import Cancelled, EngineFailed, JudgementError, Spent
from service.modes.modes import JudgingMode, ModeResult, Query, Reads, Step, is_kept
from service.observability.tracing import Watch
from service.scheduling import Scheduler, Ticket
from service.scoring.rendering import Estimate, Rendering
from service.scoring.request import RequestContext, Reservation, Usage
from service.scoring.ticket_group import TicketGroup, answer_of

_PART = 256
"""Queries that enter the queue at a time without a rest."""


@dataclass(frozen=True, slots=True)
class NewQuery:
    """A query that no cache knows and that was in no flight: this process sees to its verdict. `group` names the
    queries whose prompts begin alike."""

    judging_mode: JudgingMode
    query: Query
    group: Hashable
    key: bytes
    flight: Flight[ModeResult]
    context: RequestContext
    usage: Usage

    @property
    def waited_for(self) -> bool:
        return not self.flight.future.done()


@dataclass(slots=True)
class Settlement:
    """Settles what was reserved for queries that were submitted together, when `open` of them has come to 0."""

    reservation: Reservation | None
    watch: Watch | None
    open: int
    used_tokens: int = 0

    def end_one(self) -> None:
        self.open -= 1
        if self.open:
            return
        if self.reservation is not None:
            self.reservation.settle(self.used_tokens)
        if self.watch is not None:
            self.watch.end()


class Submission:
    """`shared` is None where this process shares verdicts with no other."""

    def __init__(
        self,
        scheduler: Scheduler,
        rendering: Rendering,
        memory: MemoryCache[ModeResult],
        shared: SharedCache[ModeResult] | None,
    ) -> None:
        self._scheduler = scheduler
        self._rendering = rendering
        self._memory = memory
        self._shared = shared

    async def submit(self, new: Sequence[NewQuery], estimate: Estimate | None = None) -> None:
        """Returns once all of one request's `new` queries are in the queue. `estimate` is None where rendering has not
        admitted them yet. Raises RequestError for what refuses them, after failing their flights."""
        reservation: Reservation | None = None
        try:
            steps, tokens = await self._render(new, estimate)
            reserve = new[0].context.reserve
            if reserve is not None and steps:  # now the tokens are known exactly, and nothing is queued yet
                reservation = await reserve(sum(tokens))
            await self._queue(steps, tokens, reservation)
        except Exception as error:
            if reservation is not None:
                reservation.settle(0)
            self.refuse(new, error)
            raise

    def refuse(self, new: Sequence[NewQuery], error: Exception) -> None:
        """Whoever waits for these gets the error, and another process may judge them."""
        for one in new:
            one.flight.fail(error)
        self._release(new)

    async def _render(
        self, new: Sequence[NewQuery], estimate: Estimate | None
    ) -> tuple[list[tuple[NewQuery, Step]], list[int]]:
        """The first step of each query that can be judged and is waited for, and the tokens that the engine will
        compute for each. What is too long ends here."""
        judging_mode, context = new[0].judging_mode, new[0].context
        queries = [one.query for one in new]
        if estimate is None:
            estimate = self._rendering.admit(queries, context)
        learned: int | None = None
        try:
            if context.reserve is not None:  # where nothing is left of a quota, nothing is rendered
                (await context.reserve(1)).settle(0)
            began_s = self._scheduler.clock.now()
            with context.trace.span("render", queries=len(new)):
                rendered = await self._rendering.render(
                    judging_mode, queries, context, lambda index: new[index].waited_for
                )
            new[0].usage.render_s += self._scheduler.clock.now() - began_s
            turns = Turns()
            steps: list[tuple[NewQuery, Step]] = []
            for one, step in zip(new, rendered, strict=True):
                if isinstance(step, Step):
                    steps.append((one, step))
                    continue
                if step is not None:
                    one.flight.fail(step)
                self._release([one])
                await turns.rest()
            tokens = self._scheduler.costs([step.query for _, step in steps])
            if len(steps) == len(new):
                learned = sum(tokens)
            return steps, tokens
        finally:
            self._rendering.finish(context, estimate, learned)

    async def _queue(
        self, steps: Sequence[tuple[NewQuery, Step]], tokens: Sequence[int], reservation: Reservation | None
    ) -> None:
        """Admits all steps or none, and puts them into the queue, part by part. Raises Overloaded or Unavailable."""
        if not steps:
            return
        context, usage = steps[0][0].context, steps[0][0].usage
        # While this waited, callers may have left: their flights are over and their queries need no engine.
        waited_for = [(one, step, cost) for (one, step), cost in zip(steps, tokens, strict=True) if one.waited_for]
        whole = sum([cost for _, _, cost in waited_for])
        deadlines_s = [one.flight.deadline_s for one, _, _ in waited_for if one.flight.deadline_s is not None]
        with self._scheduler.admit(context.tenant, whole, min(deadlines_s, default=None)) as admitted:
            # One more than there are tickets: nothing is settled before all have their callbacks, or where none has.
            settlement = Settlement(reservation, context.trace.watch(len(waited_for), whole), 1)
            turns = Turns()
            for start in range(0, len(waited_for), _PART):
                part = [each for each in waited_for[start : start + _PART] if each[0].waited_for]
                tickets = admitted.submit(
                    [step.query for _, step, _ in part],
                    [one.flight.deadline_s for one, _, _ in part],
                    [one.group for one, _, _ in part],
                    [cost for _, _, cost in part],
                )
                usage.judgements += sum([one.query.judgements for one, _, _ in part])
                usage.unpriced += len(tickets)
                settlement.open += len(tickets)
                for (one, step, _), ticket in zip(part, tickets, strict=True):
                    one.flight.future.add_done_callback(partial(self._ended, one, settlement))
                    self._follow(one, step, ticket, settlement)
                await turns.rest()
        self._release(one for one, _ in steps if one.flight.work is None)
        settlement.end_one()

    def _follow(self, one: NewQuery, step: Step, ticket: Ticket, settlement: Settlement) -> None:
        one.flight.work, ticket.watch = ticket, settlement.watch
        ticket.future.add_done_callback(partial(self._answered, one, step, settlement))

    def _answered(
        self, one: NewQuery, step: Step, settlement: Settlement, future: asyncio.Future[EngineResult]
    ) -> None:
        """The engine answered one step: follow the next one, or end the flight."""
        if future.cancelled():
            one.flight.fail(Cancelled("the judgement was cancelled"))
            return
        try:
            result = future.result()
            settlement.used_tokens += _count_usage(one.usage, step.query, result)
            if isinstance(ticket := one.flight.work, Ticket):
                self._time(one.usage, ticket)
            following = one.judging_mode.next_step(step, result)
            if isinstance(following, Step):
                [ticket] = self._submit_next(one, [following.query])
                self._follow(one, following, ticket, settlement)
                return
            if isinstance(following, Reads):
                self._read_all(one, following, settlement)
                return
        except JudgementError as error:
            if future.exception() is error:  # else the step itself was counted
                settlement.used_tokens += _count_failure(one, error)
            one.flight.fail(error)
        except Exception as error:  # a bug, in what a mode reads: the waiters are answered all the same
            one.flight.fail(EngineFailed(f"the engine's result could not be read: {type(error).__name__}"))
            raise
        else:
            self._end(one, following)

    def _submit_next(self, one: NewQuery, queries: Sequence[EngineQuery]) -> list[Ticket]:
        one.usage.unpriced += len(queries)
        return self._scheduler.submit(
            queries,
            [one.flight.deadline_s] * len(queries),
            tenant=one.context.tenant,
            groups=[one.group] * len(queries),
            next_step=True,  # admitted already: it is refused for no queue, and goes first
        )

    def _read_all(self, one: NewQuery, reads: Reads, settlement: Settlement) -> None:
        """Several queries at once; the flight ends when the last one of them is answered."""
        tickets = self._submit_next(one, reads.queries)
        one.flight.work = work = TicketGroup(tickets, len(tickets))
        for ticket in tickets:
            ticket.watch = settlement.watch
            ticket.future.add_done_callback(partial(self._read, one, reads, work, settlement, ticket))

    def _read(
        self,
        one: NewQuery,
        reads: Reads,
        work: TicketGroup,
        settlement: Settlement,
        ticket: Ticket,
        future: asyncio.Future[EngineResult],
    ) -> None:
        """One of them is answered, and counted. The last one ends the flight."""
        work.open -= 1
        answer = answer_of(ticket)
        if not isinstance(answer, JudgementError):
            settlement.used_tokens += _count_usage(one.usage, ticket.query, answer)
            self._time(one.usage, ticket)
        if work.open or one.flight.future.done():
            return
        try:
            result = reads.join([answer_of(each) for each in work.tickets])
        except Exception as error:  # a bug, as in `_answered`
            one.flight.fail(EngineFailed(f"the engine's results could not be read: {type(error).__name__}"))
            raise
        self._end(one, result)

    def _time(self, usage: Usage, ticket: Ticket) -> None:
        usage.queue_s = max(usage.queue_s, ticket.started_s - ticket.admitted_s)
        usage.engine_s = max(usage.engine_s, self._scheduler.clock.now() - ticket.started_s)

    def _end(self, one: NewQuery, result: ModeResult) -> None:
        if is_kept(result, one.judging_mode.judge.mass_floor):
            self._keep(one, result)
        else:  # it is judged again next time
            self._release([one])
        one.flight.succeed(result)

    def _keep(self, one: NewQuery, result: ModeResult) -> None:
        if one.context.cache == "bypass":
            return
        self._memory.put(one.key, result)
        if self._shared is not None:
            put = self._shared.put if one.context.cache == "use" else self._shared.overwrite
            put(one.key, result)

    def _ended(self, one: NewQuery, settlement: Settlement, future: asyncio.Future[ModeResult]) -> None:
        """The flight is over: with a verdict, a failure, or because its last waiter left."""
        work = one.flight.work
        tickets = [work] if isinstance(work, Ticket) else work.tickets if isinstance(work, TicketGroup) else ()
        for ticket in tickets:
            if ticket.started and ticket.future.cancelled():
                settlement.used_tokens += ticket.cost  # the engine computes it to the end, so it is paid for
        settlement.end_one()
        if future.cancelled() or future.exception() is not None:
            self._release([one])

    def _release(self, new: Iterable[NewQuery]) -> None:
        """Another process may judge these now."""
        if self._shared is not None:
            for one in new:
                if one.context.cache == "use":  # the others took no lease
                    self._shared.release(one.key)


def _count_usage(usage: Usage, query: EngineQuery, result: EngineResult) -> int:
    """Counts the query; returns the tokens that the engine computed and wrote for it."""
    if isinstance(result, Decision | Documents):
        return _count_spent(usage, result.spent)
    prompt_tokens = len(query.prompt)
    written = result.tokens if isinstance(result, Generation) else 0
    usage.prompt_tokens += prompt_tokens
    usage.cached_tokens += result.cached_tokens
    usage.completion_tokens += written
    return prompt_tokens - result.cached_tokens + written


def _count_failure(one: NewQuery, error: JudgementError) -> int:
    """A server may take tokens and money for an answer that is no verdict. What no engine got needs no price."""
    if error.spent is not None:
        return _count_spent(one.usage, error.spent)
    if isinstance(ticket := one.flight.work, Ticket) and not ticket.started:
        one.usage.unpriced -= 1
    return 0


def _count_spent(usage: Usage, spent: Spent) -> int:
    """Counts what a server says that it took; returns the tokens that it computed and wrote."""
    usage.prompt_tokens += spent.prompt_tokens
    usage.cached_tokens += spent.cached_tokens
    usage.completion_tokens += spent.generated_tokens
    usage.pay(spent.cost)
    return spent.computed_tokens
