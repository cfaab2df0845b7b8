"""The runner between lanes and engine: reads (one forward pass) and writes (decoding) in lanes of their own, so that
neither waits for the other's batches.

Always true: every ticket is answered exactly once, whatever happens; what is full, or asks an engine that is down,
refuses at the door; a failed batch fails its members and nobody else; if the runner dies every ticket fails and new
work is refused. The engine holds about `max_in_flight` batches of tokens, so that order and deadlines mean something.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from service.clock import Clock, settle, wait_all
from service.engine.base import (
    Engine,
    EngineQuery,
    EngineResult,
    Generation,
    GenerationOutcome,
    GenerationQuery,
    LabelLogprobs,
    LabelQuery,
    Outcome,
)
from service.errors import Cancelled, EngineFailed, JudgementError, Unavailable
from service.observability import EngineBatch, Telemetry
from service.observability.tracing import BatchTrace
from service.scheduling.admission import Backlog, Gate, Rate, costs
from service.scheduling.fair_share import DEFAULT_TENANT, Tenant
from service.scheduling.queue import NEXT_STEPS, Batch, RequestQueue, Room, Ticket

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """In tokens that will be computed. `max_in_flight` is in batches, `max_concurrent_generations` in answers being
    written, `max_queue_s` in seconds of work at the measured rate."""

    max_batch_tokens: int = 8192
    max_queued_tokens: int = 1_000_000
    max_in_flight: int = 2
    max_concurrent_generations: int = 64
    max_queue_s: float = 120.0


class Scheduler:
    def __init__(self, engine: Engine, clock: Clock, limits: Limits, telemetry: Telemetry | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._telemetry = telemetry or Telemetry()
        self._backlog = Backlog()
        self._rate = Rate()
        self._gate = Gate(
            clock, self._backlog, self._rate, max_tokens=limits.max_queued_tokens, max_s=limits.max_queue_s
        )
        rooms = _rooms(engine.streams, limits)
        self._reads, self._writes = (RequestQueue(clock, room, self._backlog) for room in rooms)
        self._work = asyncio.Event()
        self._refusal: str | None = None
        self._closed = False
        self._runner: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        queued = f"{self.queued_tickets} queued, {self.queued_tokens} tokens"
        running = len(self._reads.flying) + len(self._writes.flying)
        return f"<Scheduler {queued}, {running} running, {self.unavailable_reason or 'accepting'}>"

    @property
    def unavailable_reason(self) -> str | None:
        """Why nothing can be asked now; None when it can."""
        return self._refusal or self._engine.down

    @property
    def dead(self) -> bool:
        """The runner is gone, for good."""
        return self._runner is not None and self._runner.done() and not self._runner.cancelled()

    @property
    def max_model_len(self) -> int:
        """Longest prompt that the engine reads, in tokens."""
        return self._engine.max_model_len

    @property
    def queued_tokens(self) -> int:
        return self._backlog.tokens

    def queued_by(self) -> Mapping[tuple[str, str], int]:
        """Tokens that wait, by team and class; who has none is not in it."""
        return self._backlog.by_class()

    @property
    def limit_tokens(self) -> float:
        """As much may wait now."""
        return self._gate.limit

    @property
    def tokens_per_s(self) -> float | None:
        """The judge's measured rate; None before anything was measured."""
        return self._rate.tokens_per_s

    @property
    def in_flight_tokens(self) -> int:
        return sum(lane.flying_tokens for lane in self._lanes)

    @property
    def running_prompts(self) -> int:
        return sum(len(batch) for lane in self._lanes for batch in lane.flying.values())

    @property
    def _lanes(self) -> tuple[RequestQueue, RequestQueue]:
        return self._reads, self._writes

    @property
    def queued_tickets(self) -> int:
        return self._reads.queued_tickets + self._writes.queued_tickets

    def start(self) -> None:
        self._runner = asyncio.create_task(self._run(), name="scheduler")
        self._runner.add_done_callback(self._runner_gone)

    def check_capacity(self, tenant: Tenant = DEFAULT_TENANT, tokens: int = 1, deadline_s: float | None = None) -> None:
        """Raises Overloaded, with when to come back, or Unavailable. `deadline_s` is a point on the clock."""
        if (reason := self.unavailable_reason) is not None:
            raise Unavailable(reason)
        self._gate.check(tenant, tokens, deadline_s, self.in_flight_tokens)

    def submit(
        self,
        queries: Sequence[EngineQuery],
        deadlines_s: Sequence[float | None],
        *,
        tenant: Tenant = DEFAULT_TENANT,
        groups: Sequence[Hashable] | None = None,
        next_step: bool = False,
    ) -> list[Ticket]:
        """A ticket a question, all or none, in order. Deadlines are points on the clock. Raises as `check_room`.

        `groups` names what shares a prefix with each question, here and in the flow's other calls; None: they are a
        group of their own. `next_step`: the next step of questions that were let in before; they find room, and go
        first of their flow.
        """
        tokens = costs(queries)
        if not next_step:
            self.check_capacity(tenant, sum(tokens), min((at for at in deadlines_s if at is not None), default=None))
        elif self._closed:
            raise EngineFailed("the judge was stopped before its next step")
        if next_step or groups is None:
            groups = [NEXT_STEPS if next_step else object()] * len(queries)
        now_s = self._clock.now()
        tickets = [
            Ticket(query, cost, deadline_s, self._left, tenant=tenant, group=group, since_s=now_s)
            for query, cost, deadline_s, group in zip(queries, tokens, deadlines_s, groups, strict=True)
        ]
        self._reads.put([ticket for ticket in tickets if isinstance(ticket.query, LabelQuery)])
        self._writes.put([ticket for ticket in tickets if isinstance(ticket.query, GenerationQuery)])
        self._work.set()
        return tickets

    def take(self) -> tuple[RequestQueue, Batch] | None:
        """The next batch and its lane: reads first, within each lane's room."""
        for lane in self._lanes:
            if batch := lane.take():
                return lane, batch
        return None

    async def drain(self, grace_s: float) -> None:
        """Refuse new work, finish what was accepted; what is left after `grace_s` ends as cancelled."""
        self._refusal = "the service is shutting down"
        until_s = self._clock.now() + grace_s
        while waiting := self._unanswered():
            await wait_all(self._clock, waiting, until_s)
            if self._clock.now() >= until_s:
                break
            await settle()  # an answer may lead to a next step
        self._closed = True
        if self._runner is not None:
            self._runner.cancel()
        for lane in self._lanes:
            for task in list(lane.flying):
                task.cancel()
        self._fail_all(Cancelled("the service shut down before the judge answered"))

    def _unanswered(self) -> list[asyncio.Future[EngineResult]]:
        tickets = (ticket for lane in self._lanes for ticket in lane.all_tickets())
        return [ticket.future for ticket in tickets if not ticket.future.done()]

    def _left(self, ticket: Ticket) -> None:
        if not ticket.queued:
            self._engine.cancel(ticket.prompt)
        (self._reads if isinstance(ticket.query, LabelQuery) else self._writes).release(ticket)

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while (taken := self.take()) is not None:
                lane, batch = taken
                task = asyncio.create_task(self._answer(lane, batch), name="batch")
                lane.fly(task, batch)
                task.add_done_callback(partial(self._landed, lane))

    def _landed(self, lane: RequestQueue, task: asyncio.Task[None]) -> None:
        for ticket in lane.land(task):  # only a batch that was itself cancelled leaves any unanswered
            ticket.answer(Cancelled("the judge was stopped before it answered"))
        self._work.set()

    async def _answer(self, lane: RequestQueue, batch: Batch) -> None:
        started_s = self._clock.now()
        for tenant, waits_s in waits(batch, started_s).items():
            self._telemetry.observe_queue_wait(tenant.team, tenant.priority_class, waits_s)
        trace = BatchTrace(ticket.watch for ticket in batch)
        self._rate.begin(started_s)
        answered: Sequence[Outcome | GenerationOutcome] | None = None
        outcomes: Sequence[Outcome | GenerationOutcome]
        try:
            outcomes = await self._ask([ticket.query for ticket in batch])
            if len(outcomes) != len(batch):
                raise EngineFailed(f"the engine answered {len(outcomes)} of {len(batch)} prompts")
            answered = outcomes
            lane.quickest.count(self._clock.now() - started_s)
        except JudgementError as error:
            self._telemetry.count_failed_batch()
            outcomes = [error] * len(batch)
        except Exception as error:
            self._telemetry.count_failed_batch()
            log.exception("the engine failed a batch of %d", len(batch))
            outcomes = [EngineFailed(f"the engine failed: {type(error).__name__}")] * len(batch)
        finally:
            ended_s = self._clock.now()
            busy_s = self._rate.end(ended_s, None if answered is None else sum(ticket.cost for ticket in batch))
            had = batch_of(batch, answered, seconds=ended_s - started_s, busy_s=busy_s)
            self._telemetry.record_batch(had)
            trace.end(had)
        for ticket, outcome in zip(batch, outcomes, strict=True):
            ticket.answer(outcome)

    async def _ask(self, queries: Sequence[EngineQuery]) -> Sequence[Outcome | GenerationOutcome]:
        """Reads of one lane may ask for different labels; each kind is a call of its own."""
        writes = [query for query in queries if isinstance(query, GenerationQuery)]
        if len(writes) == len(queries):
            return await self._engine.generate([query.prompt for query in writes], [query.sampling for query in writes])
        reads = [query for query in queries if isinstance(query, LabelQuery)]
        if len(reads) != len(queries):
            raise EngineFailed("a batch held reads and writes")
        labels = {query.label_ids for query in reads}
        if len(labels) == 1:
            return await self._engine.read_labels([query.prompt for query in reads], reads[0].label_ids)
        found: dict[int, Outcome] = {}
        for label_ids in labels:
            places = [place for place, query in enumerate(reads) if query.label_ids == label_ids]
            outcomes = await self._engine.read_labels([reads[place].prompt for place in places], label_ids)
            found |= dict(zip(places, outcomes, strict=True))
        return [found[place] for place in range(len(reads))]

    def _runner_gone(self, runner: asyncio.Task[None]) -> None:
        if not runner.cancelled() and runner.exception() is not None:
            log.critical("the scheduler's runner died", exc_info=runner.exception())
            self._refusal, self._closed = "the judge's scheduler died; restart the service", True
            self._fail_all(EngineFailed("the scheduler died"))

    def _fail_all(self, error: JudgementError) -> None:
        for lane in self._lanes:
            for ticket in lane.all_tickets():
                ticket.answer(error)
            lane.clear()


def _rooms(streams: bool, limits: Limits) -> tuple[Room, Room]:
    """A streaming engine batches by itself and gets one response's questions at a time; another gets full batches."""
    tokens, batches = limits.max_batch_tokens, limits.max_in_flight
    if streams:
        return (
            Room(batch_tokens=tokens, one_prefix=True, flying_tokens=tokens * batches),
            Room(batch_tokens=tokens, batch_tickets=1, flying_tickets=limits.max_concurrent_generations),
        )
    return (
        Room(batch_tokens=tokens, flying_batches=batches),
        Room(batch_tokens=tokens, batch_tickets=limits.max_concurrent_generations, flying_batches=1),
    )


def waits(batch: Sequence[Ticket], now_s: float) -> dict[Tenant, list[float]]:
    """Seconds from being let in until now."""
    waited: dict[Tenant, list[float]] = {}
    for ticket in batch:
        waited.setdefault(ticket.tenant, []).append(now_s - ticket.since_s)
    return waited


def batch_of(
    batch: Sequence[Ticket], outcomes: Sequence[Outcome | GenerationOutcome] | None, *, seconds: float, busy_s: float
) -> EngineBatch:
    """`outcomes` are in the batch's order; None where there are none."""
    costs: Counter[str] = Counter()
    computed: Counter[str] = Counter()
    shared = written = 0
    for ticket in batch:
        costs[ticket.tenant.team] += ticket.cost
    for ticket, outcome in () if outcomes is None else zip(batch, outcomes, strict=True):
        if isinstance(outcome, LabelLogprobs | Generation):
            decoded = outcome.tokens if isinstance(outcome, Generation) else 0
            computed[ticket.tenant.team] += len(ticket.prompt) - outcome.cached_tokens + decoded
            shared += outcome.cached_tokens
            written += decoded
    return EngineBatch(
        query_type="label" if isinstance(batch[0].query, LabelQuery) else "generation",
        queries=len(batch),
        seconds=seconds,
        busy_s=busy_s,
        planned_tokens=costs,
        computed_tokens=computed,
        shared_tokens=shared,
        generated_tokens=written,
    )
