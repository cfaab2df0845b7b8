"""The scheduler admits queries, and its runner takes batches from the queues to the engine.

Label queries (one forward pass) and generations (decoding) have a queue each, so that neither waits for the other's
batches. The engine has about `max_in_flight` batches of tokens at a time, so that fair order and deadlines mean
something.

Guarantees: every ticket is answered exactly once, whatever happens. A full queue and an engine that is down or
pauses refuse at admission. A failed batch fails its members and nobody else. If the runner dies, every ticket fails and
new work is refused.
"""

import asyncio
import logging
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from service.clock import Clock, settle, wait_all
from service.engine.base import (
    Engine,
    EngineQuery,
    EngineResult,
    GenerationOutcome,
    GenerationQuery,
    LabelQuery,
    Outcome,
)
from service.errors import Cancelled, EngineFailed, JudgementError, Overloaded, Unavailable
from service.observability import Telemetry
from service.observability.tracing import BatchTrace
from service.scheduling.admission import AdmissionControl, QueuedTokens, ThroughputEstimate, costs
from service.scheduling.batch_summary import queue_waits, summarize_batch
from service.scheduling.fair_share import DEFAULT_TENANT, Tenant
from service.scheduling.queue import NEXT_STEPS, Admitted, Batch, RequestQueue, Ticket, engine_capacities
from service.settings import SchedulingSettings

log = logging.getLogger(__name__)


class Scheduler:
    def __init__(
        self, engine: Engine, clock: Clock, settings: SchedulingSettings, telemetry: Telemetry | None = None
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._telemetry = telemetry or Telemetry()
        self._queued = QueuedTokens()
        self._throughput = ThroughputEstimate()
        self._admission = AdmissionControl(
            clock, self._queued, self._throughput, max_tokens=settings.max_queued_tokens, max_s=settings.max_queue_s
        )
        for_labels, for_generations = engine_capacities(engine.streams, settings)
        self._label_queue = RequestQueue(clock, for_labels, self._queued)
        self._generation_queue = RequestQueue(clock, for_generations, self._queued)
        self._queues = (self._label_queue, self._generation_queue)
        self._work = asyncio.Event()
        self._refusal: str | None = None
        self._closed = False
        self._batch_tokens = None if engine.streams else settings.max_batch_tokens
        self._runner: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        queued = f"{self.queued_tickets} queued, {self.queued_tokens} tokens"
        running = sum(len(queue.in_flight) for queue in self._queues)
        return f"<Scheduler {queued}, {running} running, {self.unavailable_reason or 'accepting'}>"

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def unavailable_reason(self) -> str | None:
        """Why no query is admitted now; None when queries are."""
        return self._refusal or self._engine.down

    @property
    def dead(self) -> bool:
        """The runner has ended on an error, for good."""
        return self._runner is not None and self._runner.done() and not self._runner.cancelled()

    @property
    def queued_tokens(self) -> int:
        return self._queued.total

    def queued_by(self) -> Mapping[tuple[str, str], int]:
        """Tokens that are queued, by team and class, without entries of 0."""
        return self._queued.by_class()

    @property
    def limit_tokens(self) -> float:
        """Returns how much may be queued now."""
        return self._admission.limit_tokens

    @property
    def tokens_per_s(self) -> float | None:
        """The judge's measured throughput; None before anything was measured."""
        return self._throughput.tokens_per_s

    @property
    def in_flight_tokens(self) -> int:
        return self._label_queue.in_flight_tokens + self._generation_queue.in_flight_tokens

    @property
    def max_model_len(self) -> int:
        """The longest prompt that the engine reads, in tokens."""
        return self._engine.max_model_len

    @property
    def in_flight_tickets(self) -> int:
        return self._label_queue.in_flight_tickets + self._generation_queue.in_flight_tickets

    @property
    def queued_tickets(self) -> int:
        return self._label_queue.queued_tickets + self._generation_queue.queued_tickets

    def start(self) -> None:
        self._runner = asyncio.create_task(self._run(), name="scheduler")
        self._runner.add_done_callback(self._runner_ended)

    def check_capacity(self, tenant: Tenant = DEFAULT_TENANT, tokens: int = 1, deadline_s: float | None = None) -> None:
        """Raises Overloaded, with when to come back, or Unavailable. `deadline_s` is a point on the clock."""
        if (reason := self.unavailable_reason) is not None:
            raise Unavailable(reason)
        if (pause_s := self._engine.pause_s) > 0:
            raise Overloaded("the judge's server takes no work now; try again later", pause_s)
        self._admission.check(tenant, tokens, deadline_s, self.in_flight_tokens)

    def costs(self, queries: Sequence[EngineQuery]) -> list[int]:
        """Tokens that the engine will compute for each, if it gets them in this order."""
        return costs(queries, self._batch_tokens)

    def submit(
        self,
        queries: Sequence[EngineQuery],
        deadlines_s: Sequence[float | None],
        *,
        tenant: Tenant = DEFAULT_TENANT,
        groups: Sequence[Hashable] | None = None,
        next_step: bool = False,
    ) -> list[Ticket]:
        """Returns a ticket a query, in order. All are admitted or none. Deadlines are points on the clock. Raises as
        `check_capacity`.

        `groups` names for each query what shares its prefix, also among the tenant's queries of other calls; None: each
        query is alone. `next_step`: these continue queries that were admitted before, and go first of their tenant's.
        """
        tokens = self.costs(queries)
        # A next step belongs to a query that was admitted: it is refused neither for load nor while the scheduler
        # drains.
        if not next_step:
            self.check_capacity(tenant, sum(tokens), min([at for at in deadlines_s if at is not None], default=None))
        # An object of its own is equal to nothing else: such a query is a group of one.
        if next_step or groups is None:
            groups = [NEXT_STEPS if next_step else object()] * len(queries)
        return self._put(queries, deadlines_s, groups, tokens, tenant)

    @contextmanager
    def admit(self, tenant: Tenant, tokens: int, deadline_s: float | None) -> Iterator[Admitted]:
        """Admits one request's queries as a whole, which enter the queue part by part while inside. Raises as
        `check_capacity`. What has not entered yet counts as queued."""
        self.check_capacity(tenant, tokens, deadline_s)
        admitted = Admitted(tenant, tokens, self._queued, self._put)
        try:
            yield admitted
        finally:
            admitted.close()

    def _put(
        self,
        queries: Sequence[EngineQuery],
        deadlines_s: Sequence[float | None],
        groups: Sequence[Hashable],
        tokens: Sequence[int],
        tenant: Tenant,
    ) -> list[Ticket]:
        if self._closed:
            raise EngineFailed("the judge was stopped before its next step")
        now_s = self._clock.now()
        tickets = [
            Ticket(query, cost, deadline_s, self._cancelled, tenant, group, now_s)
            for query, cost, deadline_s, group in zip(queries, tokens, deadlines_s, groups, strict=True)
        ]
        for ticket in tickets:
            (self._label_queue if isinstance(ticket.query, LabelQuery) else self._generation_queue).put(ticket)
        self._work.set()
        return tickets

    def take(self) -> tuple[RequestQueue, Batch] | None:
        """The next batch and its queue, within what the engine may have of each queue."""
        # Label queries come first; as each queue has its own part of the engine, generations lose no place to them.
        for queue in self._queues:
            if (batch := queue.take()).tickets:
                return queue, batch
        return None

    async def drain(self, grace_s: float) -> None:
        """Refuses new work and finishes what was accepted; what is left after `grace_s` ends as cancelled."""
        self._refusal = "the service is shutting down"
        until_s = self._clock.now() + grace_s
        while unanswered := self._unanswered():
            await wait_all(self._clock, unanswered, until_s)
            if self._clock.now() >= until_s:
                break
            await settle()  # an answer may lead to a next step
        # From here on next steps are refused too, since no runner would take them.
        self._closed = True
        if self._runner is not None:
            self._runner.cancel()
        for queue in self._queues:
            for task in list(queue.in_flight):
                task.cancel()
        self._fail_all(Cancelled("the service shut down before the judge answered"))

    def _unanswered(self) -> list[asyncio.Future[EngineResult]]:
        tickets = (ticket for queue in self._queues for ticket in queue.all_tickets())
        return [ticket.future for ticket in tickets if not ticket.future.done()]

    def _cancelled(self, ticket: Ticket) -> None:
        """Frees the place of a ticket for which nobody waits: in the queue, or as far as the engine can, there."""
        if not ticket.queued:
            self._engine.cancel(ticket.query.prompt)
        (self._label_queue if isinstance(ticket.query, LabelQuery) else self._generation_queue).release(ticket)

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while (taken := self.take()) is not None:
                queue, batch = taken
                # The runner does not wait for a batch: the engine may have several, and one of each queue.
                task = asyncio.create_task(self._compute(queue, batch), name="batch")
                queue.start(task, batch)
                task.add_done_callback(partial(self._finished, queue))

    def _finished(self, queue: RequestQueue, task: asyncio.Task[None]) -> None:
        for ticket in queue.finish(task).tickets:  # only a batch that was itself cancelled leaves any unanswered
            ticket.answer(Cancelled("the judge was stopped before it answered"))
        self._work.set()

    async def _compute(self, queue: RequestQueue, batch: Batch) -> None:
        """Gets the batch's outcomes from the engine, counts what it took, and answers the tickets."""
        tickets, started_s = batch.tickets, self._clock.now()
        for ticket in tickets:
            ticket.started_s = started_s
        for tenant, waits_s in queue_waits(tickets, started_s).items():
            self._telemetry.observe_queue_wait(tenant.team, tenant.priority_class, waits_s)
        trace = BatchTrace([ticket.watch for ticket in tickets])
        self._throughput.start_batch(started_s)
        computed: Sequence[Outcome | GenerationOutcome] | None = None
        outcomes: Sequence[Outcome | GenerationOutcome]
        try:
            outcomes = await _call_engine(self._engine, [ticket.query for ticket in tickets])
            if len(outcomes) != len(tickets):
                raise EngineFailed(f"the engine answered {len(outcomes)} of {len(tickets)} prompts")
            computed = outcomes
            queue.batch_times_s.append(self._clock.now() - started_s)
        except JudgementError as error:
            self._telemetry.count_failed_batch()
            outcomes = [error] * len(tickets)
        except Exception as error:
            # An engine at fault may raise anything. Its batch fails, and the tickets of others are not touched.
            self._telemetry.count_failed_batch()
            log.exception("the engine failed a batch of %d", len(tickets))
            outcomes = [EngineFailed(f"the engine failed: {type(error).__name__}")] * len(tickets)
        finally:
            # Also for a batch that failed or was cancelled: it took the engine's time.
            ended_s = self._clock.now()
            busy_s = self._throughput.finish_batch(ended_s, None if computed is None else batch.cost)
            summary = summarize_batch(tickets, computed, seconds=ended_s - started_s, busy_s=busy_s)
            self._telemetry.record_batch(summary)
            trace.end(summary)
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            ticket.answer(outcome)

    def _runner_ended(self, runner: asyncio.Task[None]) -> None:
        # A drain cancels the runner and answers what is left. A runner that died would leave every caller waiting.
        if not runner.cancelled() and runner.exception() is not None:
            log.critical("the scheduler's runner died", exc_info=runner.exception())
            self._refusal, self._closed = "the judge's scheduler died; restart the service", True
            self._fail_all(EngineFailed("the scheduler died"))

    def _fail_all(self, error: JudgementError) -> None:
        for queue in self._queues:
            for ticket in queue.all_tickets():
                ticket.answer(error)
            queue.clear()


async def _call_engine(engine: Engine, queries: Sequence[EngineQuery]) -> Sequence[Outcome | GenerationOutcome]:
    """Returns what the engine answers for a batch: one outcome a query, in order, unless the engine is at fault."""
    generations = [query for query in queries if isinstance(query, GenerationQuery)]
    if len(generations) == len(queries):
        return await engine.generate([query.prompt for query in generations], [query.sampling for query in generations])
    # An engine reads one set of labels a call, and a batch may hold queries for several: each set is a call of its own.
    places: dict[tuple[int, ...], list[int]] = {}
    for place, query in enumerate(queries):
        if not isinstance(query, LabelQuery):
            raise EngineFailed("a batch held label queries and generations")
        places.setdefault(query.label_ids, []).append(place)
    found: dict[int, Outcome] = {}
    for label_ids, members in places.items():
        outcomes = await engine.read_labels([queries[place].prompt for place in members], label_ids)
        if len(members) == len(queries):
            return outcomes
        found |= dict(zip(members, outcomes, strict=True))
    return [found[place] for place in range(len(queries))]
