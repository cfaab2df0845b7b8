"""The queue holds queries of one kind in fair order, forms batches of them, and knows which batches the engine has.

Guarantees: a ticket is answered at most once. State changes in synchronous functions only. A query that is cancelled,
past its deadline or sure to miss it does not reach the engine. Whoever takes the place of one that was to pay for what
a group's prompts share pays for it.
"""

import asyncio
import math
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from service.clock import Clock
from service.engine.base import EngineQuery, EngineResult, Prompt
from service.errors import EngineFailed, JudgementError, TimedOut, Unavailable
from service.observability.tracing import Watch
from service.scheduling.admission import QueuedTokens, batch_limit, cost_of
from service.scheduling.fair_share import CLASS_WEIGHTS, FairShare, PriorityClass, Tenant
from service.settings import SchedulingSettings

NEXT_STEPS: Hashable = object()
"""The prefix group of queries that are the next step of an admitted one."""

_REMEMBERED_GROUPS = 256

_BURST_BATCHES = 24
"""How far ahead a team may go after a pause: a training step, 128 responses by 12 criteria, is about twenty batches."""

_RECENT_BATCHES = 16


@dataclass(eq=False, slots=True)
class Ticket:
    """One query's place in the queue.

    `future` holds the engine's result, or the error. `cost` is in tokens that will be computed; `deadline_s` and
    `admitted_s` are points on the clock. `group` names the queries that share a prefix with this one. `queued` is True
    until the ticket leaves the queue, `started` from when the engine gets it, at `started_s`. `watch` hears what
    becomes of it.
    """

    query: EngineQuery
    cost: int
    deadline_s: float | None
    on_cancel: Callable[["Ticket"], None]
    tenant: Tenant
    group: Hashable
    admitted_s: float = 0.0
    queued: bool = True
    started: bool = False
    started_s: float = 0.0
    watch: Watch | None = None
    future: asyncio.Future[EngineResult] = field(default_factory=asyncio.Future, init=False, repr=False)

    def answer(self, outcome: EngineResult | JudgementError) -> None:
        """The first answer counts; later ones change nothing."""
        if self.future.done():
            return
        if isinstance(outcome, JudgementError):
            self.future.set_exception(outcome)
            self.future.exception()  # retrieved here, so that asyncio does not report an error that nobody waits for
        else:
            self.future.set_result(outcome)

    def extend_deadline(self, deadline_s: float | None) -> None:
        """Another request waits for the same verdict, and for longer. None is no deadline."""
        self.deadline_s = deadline_s

    def cancel(self) -> None:
        """Nobody waits any more: the ticket's place is free at once, and the engine need not finish it."""
        if not self.future.done():
            self.future.cancel()
            self.on_cancel(self)


@dataclass(slots=True)
class Batch:
    """Tickets that the engine computes together; `cost` is the sum of theirs."""

    tickets: list[Ticket] = field(default_factory=list)
    cost: int = 0


_Groups = OrderedDict[Hashable, OrderedDict[Ticket, None]]


class TenantFifo:
    """One tenant's queued tickets: prefix groups in order of arrival, those that have started before the others.

    The queries of a group stay together, since the engine computes their common prefix once if they are neighbours.
    Every method takes the same time however many tickets are queued.
    """

    def __init__(self) -> None:
        self._started: _Groups = OrderedDict()
        self._unstarted: _Groups = OrderedDict()
        self._recent: OrderedDict[Hashable, None] = OrderedDict()
        self._paid: dict[Hashable, Prompt] = {}
        """Of a group that has started and has more tickets, the prompt that was taken last."""

    def __bool__(self) -> bool:
        return bool(self._started or self._unstarted)

    def __iter__(self) -> Iterator[Ticket]:
        for groups in (self._started, self._unstarted):
            for group in groups.values():
                yield from group

    def put(self, ticket: Ticket) -> None:
        group = ticket.group
        # A query may come after all others of its group were taken. The group is remembered for a while, so that the
        # query still goes first.
        started = group in self._started or group in self._recent or group is NEXT_STEPS
        (self._started if started else self._unstarted).setdefault(group, OrderedDict())[ticket] = None
        if group is NEXT_STEPS:  # these finish what was admitted before everything else that is queued here
            self._started.move_to_end(group, last=False)

    def first(self) -> Ticket:
        """The ticket that is next. The FIFO must not be empty."""
        return next(iter(next(iter((self._started or self._unstarted).values()))))

    def cost_now(self, ticket: Ticket) -> int:
        """What an engine that keeps prefixes will compute for the first ticket: more than was planned where the one
        before it, which was to pay for what they share, has left the queue. (Two requests for the same verdicts, of
        which the first was given up, got a team 38 times the tokens of another one with the same weight.)"""
        if type(ticket.group) is object:  # a group of one, or next steps, whose prefix was paid for
            return ticket.cost
        return max(ticket.cost, cost_of(ticket.query, self._paid.get(ticket.group)))

    def take(self, ticket: Ticket) -> None:
        """The ticket leaves for the engine, and its group has started."""
        group = ticket.group
        if group is not NEXT_STEPS:
            self._recent[group] = None
            self._paid[group] = ticket.query.prompt
            self._recent.move_to_end(group)
            if len(self._recent) > _REMEMBERED_GROUPS:
                self._recent.popitem(last=False)
        self.remove(ticket)
        if (rest := self._unstarted.pop(group, None)) is not None:
            self._started[group] = rest

    def remove(self, ticket: Ticket) -> None:
        groups = self._started if ticket.group in self._started else self._unstarted
        group = groups[ticket.group]
        del group[ticket]
        if not group:
            del groups[ticket.group]
            self._paid.pop(ticket.group, None)  # a later query of the group is planned with its whole prompt


@dataclass(frozen=True, slots=True)
class EngineCapacity:
    """The limits of one batch, and of what the engine may have at a time. `one_prefix`: a batch ends where another
    prefix begins. `keeps_prefixes`: a batch goes on with the prefixes of those before."""

    batch_tokens: int
    batch_tickets: float = math.inf
    one_prefix: bool = False
    keeps_prefixes: bool = False
    in_flight_tokens: float = math.inf
    in_flight_tickets: float = math.inf
    in_flight_batches: float = math.inf


def engine_capacities(streams: bool, settings: SchedulingSettings) -> tuple[EngineCapacity, EngineCapacity]:
    """Returns the capacities for label queries and for generations. `streams` is the engine's."""
    tokens, batches = settings.max_batch_tokens, settings.max_in_flight
    # A streaming engine forms its batches itself, so small calls cost nothing and it gets one response's queries at a
    # time. Another engine computes the prompts of a call together, so it gets full batches.
    if streams:
        return (
            EngineCapacity(tokens, one_prefix=True, keeps_prefixes=True, in_flight_tokens=tokens * batches),
            EngineCapacity(tokens, 1, keeps_prefixes=True, in_flight_tickets=settings.max_concurrent_generations),
        )
    return (
        EngineCapacity(batch_tokens=tokens, in_flight_batches=batches),
        EngineCapacity(batch_tokens=tokens, batch_tickets=settings.max_concurrent_generations, in_flight_batches=1),
    )


class RequestQueue:
    """Holds queries of one kind. Both queues count in the same `queued_tokens`, so that admission sees the sum."""

    def __init__(self, clock: Clock, capacity: EngineCapacity, queued_tokens: QueuedTokens) -> None:
        self.queued_tickets = 0
        self.in_flight: dict[asyncio.Task[None], Batch] = {}
        self.in_flight_tokens = 0
        self.in_flight_tickets = 0
        self.batch_times_s: deque[float] = deque(maxlen=_RECENT_BATCHES)
        """How long the last batches took that succeeded."""
        self._clock = clock
        self._capacity = capacity
        self._queued_tokens = queued_tokens
        self._teams: FairShare[str] = FairShare(_BURST_BATCHES * capacity.batch_tokens)
        self._classes: defaultdict[str, FairShare[PriorityClass]] = defaultdict(FairShare)
        self._fifos: defaultdict[tuple[str, PriorityClass], TenantFifo] = defaultdict(TenantFifo)

    def put(self, ticket: Ticket) -> None:
        tenant = ticket.tenant
        self._teams.enter(tenant.team, tenant.weight)
        # Classes have no burst credit: with it, eval work that comes back would go before interactive work.
        self._classes[tenant.team].enter(tenant.priority_class, CLASS_WEIGHTS[tenant.priority_class])
        self._fifos[tenant.team, tenant.priority_class].put(ticket)
        self._queued_tokens.add(tenant, ticket.cost)
        self.queued_tickets += 1

    def take(self) -> Batch:
        """The next batch; without tickets if nothing is queued or the engine has enough. A query that is larger than
        the token budget of a batch goes with none but those of its prefix."""
        batch, tokens = Batch(), 0
        if self._engine_is_full():
            return batch
        # A query that would be late even in the shortest of the last batches is not computed in vain. An idle engine
        # gets whatever is not late yet: a slow measurement would otherwise keep it from ever being measured again.
        shortest_s = min(self.batch_times_s, default=0.0) if self.in_flight else 0.0
        earliest_end_s = self._clock.now() + shortest_s
        fifo: TenantFifo | None = None
        # A batch stays with one tenant while that has work, and is then filled from the next: taking turns inside a
        # batch would compute a group's conversation again at each turn.
        while fifo := fifo or self._next_fifo():
            ticket = fifo.first()
            if ticket.deadline_s is not None and ticket.deadline_s <= earliest_end_s:
                ticket.answer(TimedOut("the judge could not answer by the deadline"))
                self.release(ticket)
                continue
            computed = cost_of(ticket.query, batch.tickets[-1].query.prompt if batch.tickets else None)
            tokens += computed
            if batch.tickets and not self._fits(ticket, batch, tokens):
                break
            # Another engine computes again what a batch begins with; planned were batches of this request alone.
            cost = fifo.cost_now(ticket) if self._capacity.keeps_prefixes else computed
            batch.tickets.append(ticket)
            batch.cost += cost
            ticket.started = True
            self._teams.charge(ticket.tenant.team, cost)
            self._classes[ticket.tenant.team].charge(ticket.tenant.priority_class, cost)
            fifo.take(ticket)
            self._dequeued(ticket)
            ticket.cost = cost  # from here on; what was queued was counted with what was planned
        return batch

    def start(self, task: asyncio.Task[None], batch: Batch) -> None:
        """The engine gets the batch, and has it until the task is done."""
        self.in_flight[task] = batch
        self.in_flight_tokens += batch.cost
        self.in_flight_tickets += len(batch.tickets)

    def finish(self, task: asyncio.Task[None]) -> Batch:
        """The engine is done with the task's batch, which is returned."""
        batch = self.in_flight.pop(task)
        self.in_flight_tokens -= batch.cost
        self.in_flight_tickets -= len(batch.tickets)
        return batch

    def release(self, ticket: Ticket) -> None:
        """A ticket that waits no more leaves the queue; one that has left already is ignored."""
        if ticket.queued:
            self._fifos[ticket.tenant.team, ticket.tenant.priority_class].remove(ticket)
            self._dequeued(ticket)

    def all_tickets(self) -> list[Ticket]:
        """Those that are queued, and those that the engine has."""
        queued = (ticket for fifo in self._fifos.values() for ticket in fifo)
        return [*queued, *(ticket for batch in self.in_flight.values() for ticket in batch.tickets)]

    def clear(self) -> None:
        for ticket in [ticket for fifo in self._fifos.values() for ticket in fifo]:
            self.release(ticket)

    def _next_fifo(self) -> TenantFifo | None:
        """The FIFO of the tenant whose turn it is: the team by its weight, then the class within the team."""
        team = self._teams.next(self._queued_tokens.of_team)
        priority_class = None if team is None else self._classes[team].next()
        return None if team is None or priority_class is None else self._fifos[team, priority_class]

    def _dequeued(self, ticket: Ticket) -> None:
        """Counts for a ticket that has left its FIFO."""
        tenant = ticket.tenant
        ticket.queued = False
        self.queued_tickets -= 1
        self._queued_tokens.remove(tenant, ticket.cost)
        if self._fifos[tenant.team, tenant.priority_class]:
            return
        if not self._classes[tenant.team].leave(tenant.priority_class):
            self._teams.leave(tenant.team)

    def _engine_is_full(self) -> bool:
        capacity = self._capacity
        return (
            self.in_flight_tokens >= capacity.in_flight_tokens
            or self.in_flight_tickets >= capacity.in_flight_tickets
            or len(self.in_flight) >= capacity.in_flight_batches
        )

    def _fits(self, ticket: Ticket, batch: Batch, tokens: int) -> bool:
        """Returns whether a batch that has tickets can take one more; `tokens` is what it would then cost to
        compute."""
        capacity, first, prompt = self._capacity, batch.tickets[0].query.prompt, ticket.query.prompt
        if tokens > batch_limit(first, prompt, capacity.batch_tokens) or len(batch.tickets) >= capacity.batch_tickets:
            return False
        # The prompts of one response are rendered with one `shared` tuple, so its identity tells prefixes apart.
        return not capacity.one_prefix or prompt.shared is first.shared


class Admitted:
    """One request's queries, which were admitted together and enter the queue part by part. `tokens` of them have not
    entered yet."""

    def __init__(self, tenant: Tenant, tokens: int, queued: QueuedTokens, put: Callable[..., list[Ticket]]) -> None:
        self._tenant = tenant
        self._tokens = tokens
        self._queued = queued
        self._put = put
        if tokens:
            queued.add(tenant, tokens)

    def submit(
        self,
        queries: Sequence[EngineQuery],
        deadlines_s: Sequence[float | None],
        groups: Sequence[Hashable],
        tokens: Sequence[int],
    ) -> list[Ticket]:
        """Returns a ticket a query, in order. `tokens` are what the engine will compute for each. Raises Unavailable
        where the scheduler has stopped meanwhile."""
        self._enter(sum(tokens))
        try:
            return self._put(queries, deadlines_s, groups, tokens, self._tenant)
        except EngineFailed as error:
            raise Unavailable(str(error)) from None

    def close(self) -> None:
        self._enter(self._tokens)

    def _enter(self, tokens: int) -> None:
        if tokens:
            self._tokens -= tokens
            self._queued.remove(self._tenant, tokens)
