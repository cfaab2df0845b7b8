"""Questions of one kind, those that wait in fair order, and those that the engine has.

Always true: state changes in synchronous functions only; what is cancelled, past its deadline or sure to miss it never
leaves the lane for the engine; a batch stays with the fairest flow while that has work, so that what shares a prefix
stays together.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from service.clock import Clock
from service.engine.base import EngineQuery, EngineResult, Prompt
from service.errors import JudgementError, TimedOut
from service.observability.tracing import Watch
from service.scheduling.admission import Backlog, Quickest, cost_of
from service.scheduling.fair_share import CLASS_WEIGHTS, FairShare, PriorityClass, Tenant


class Ticket:
    """`future` holds the answer or the error; `started` says that the engine got it. `cost` is in tokens that will be
    computed; `since_s`, when it was let in, and `deadline_s` are points on the clock. Of what becomes of
    it `watch` hears."""

    __slots__ = (
        "_left",
        "cost",
        "deadline_s",
        "future",
        "group",
        "query",
        "queued",
        "since_s",
        "started",
        "tenant",
        "watch",
    )

    def __init__(
        self,
        query: EngineQuery,
        cost: int,
        deadline_s: float | None,
        left: Callable[["Ticket"], None],
        *,
        tenant: Tenant,
        group: Hashable,
        since_s: float = 0.0,
    ) -> None:
        self.query = query
        self.cost = cost
        self.deadline_s = deadline_s
        self.tenant = tenant
        self.group = group
        self.since_s = since_s
        self.queued = True
        self.started = False
        self.watch: Watch | None = None
        self.future: asyncio.Future[EngineResult] = asyncio.get_running_loop().create_future()
        self._left = left

    @property
    def prompt(self) -> Prompt:
        return self.query.prompt

    def answer(self, outcome: EngineResult | JudgementError) -> None:
        if self.future.done():
            return
        if isinstance(outcome, JudgementError):
            self.future.set_exception(outcome)
            self.future.exception()  # retrieved here: a ticket whose waiter has left is no news
        else:
            self.future.set_result(outcome)

    def extend_deadline(self, deadline_s: float | None) -> None:
        """Someone more patient waits too."""
        self.deadline_s = deadline_s

    def cancel(self) -> None:
        """Nobody waits any more: its place is free at once, and the engine need not go on."""
        if not self.future.done():
            self.future.cancel()
            self._left(self)


_Groups = OrderedDict[Hashable, OrderedDict[Ticket, None]]

NEXT_STEPS: Hashable = object()
"""The group of what goes first."""

_REMEMBERED = 256


class Line:
    def __init__(self) -> None:
        self._begun: _Groups = OrderedDict()
        self._fresh: _Groups = OrderedDict()
        self._lately: OrderedDict[Hashable, None] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._begun or self._fresh)

    def __iter__(self) -> Iterator[Ticket]:
        for groups in (self._begun, self._fresh):
            for group in groups.values():
                yield from group

    def put(self, ticket: Ticket) -> None:
        name = ticket.group
        begun = name in self._begun or name in self._lately or name is NEXT_STEPS
        (self._begun if begun else self._fresh).setdefault(name, OrderedDict())[ticket] = None
        if name is NEXT_STEPS:
            self._begun.move_to_end(name, last=False)

    def first(self) -> Ticket:
        """The ticket whose turn it is, in a line that is not empty."""
        group = next(iter((self._begun or self._fresh).values()))
        return next(iter(group))

    def take(self, ticket: Ticket) -> None:
        """The ticket leaves for the engine: its group has begun."""
        name = ticket.group
        if name is not NEXT_STEPS:
            self._lately[name] = None
            self._lately.move_to_end(name)
            if len(self._lately) > _REMEMBERED:
                self._lately.popitem(last=False)
        self.remove(ticket)
        if (rest := self._fresh.pop(name, None)) is not None:
            self._begun[name] = rest

    def remove(self, ticket: Ticket) -> None:
        groups = self._begun if ticket.group in self._begun else self._fresh
        group = groups[ticket.group]
        del group[ticket]
        if not group:
            del groups[ticket.group]


Batch = list[Ticket]

CREDIT_BATCHES = 24
"""How far ahead a team may go that was away: a training step, 128 responses by 12 criteria, is about twenty batches."""


@dataclass(frozen=True, slots=True)
class Room:
    """What one batch may hold, and what the engine may have at a time. None is no bound.

    `one_prefix`: a batch ends where another prefix begins.
    """

    batch_tokens: int
    batch_tickets: int | None = None
    one_prefix: bool = False
    flying_tokens: int | None = None
    flying_tickets: int | None = None
    flying_batches: int | None = None


class RequestQueue:
    def __init__(self, clock: Clock, room: Room, backlog: Backlog) -> None:
        self.queued_tickets = 0
        self.flying: dict[asyncio.Task[None], Batch] = {}
        self.flying_tokens = 0
        self.quickest = Quickest()
        self._clock = clock
        self._room = room
        self._backlog = backlog
        self._teams: FairShare[str] = FairShare(CREDIT_BATCHES * room.batch_tokens)
        self._kinds: dict[str, FairShare[PriorityClass]] = {}
        self._lines: dict[tuple[str, PriorityClass], Line] = {}
        self._flying_tickets = 0

    def put(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            self._enter(ticket.tenant).put(ticket)
            self._backlog.add(ticket.tenant, ticket.cost)
        self.queued_tickets += len(tickets)

    def take(self) -> Batch:
        """The next batch; empty when nothing waits or the engine has enough. A ticket over the budget goes alone."""
        batch: Batch = []
        if self._engine_has_enough():
            return batch
        tokens = 0
        ready_s = self._clock.now() + (self.quickest.seconds if self.flying else 0.0)
        line: Line | None = None
        while line := line or self._fairest():
            ticket = line.first()
            if ticket.deadline_s is not None and ticket.deadline_s <= ready_s:
                ticket.answer(TimedOut("the judge could not answer by the deadline"))
                self.release(ticket)
                continue
            tokens += cost_of(ticket.query, batch[-1].prompt if batch else None)
            if batch and not self._fits(ticket, batch, tokens):
                break
            batch.append(ticket)
            ticket.started = True
            self._charge(ticket)
            line.take(ticket)
            self._left(ticket)
        return batch

    def fly(self, task: asyncio.Task[None], batch: Batch) -> None:
        self.flying[task] = batch
        self.flying_tokens += sum(ticket.cost for ticket in batch)
        self._flying_tickets += len(batch)

    def land(self, task: asyncio.Task[None]) -> Batch:
        batch = self.flying.pop(task)
        self.flying_tokens -= sum(ticket.cost for ticket in batch)
        self._flying_tickets -= len(batch)
        return batch

    def release(self, ticket: Ticket) -> None:
        """A ticket that waits no more leaves the queue."""
        if ticket.queued:
            self._lines[ticket.tenant.team, ticket.tenant.priority_class].remove(ticket)
            self._left(ticket)

    def all_tickets(self) -> list[Ticket]:
        waiting = (ticket for line in self._lines.values() for ticket in line)
        return [*waiting, *(ticket for batch in self.flying.values() for ticket in batch)]

    def clear(self) -> None:
        for ticket in [ticket for line in self._lines.values() for ticket in line]:
            self.release(ticket)

    def _enter(self, tenant: Tenant) -> Line:
        kinds = self._kinds.setdefault(tenant.team, FairShare())
        self._teams.enter(tenant.team, tenant.weight)
        kinds.enter(tenant.priority_class, CLASS_WEIGHTS[tenant.priority_class])
        return self._lines.setdefault((tenant.team, tenant.priority_class), Line())

    def _fairest(self) -> Line | None:
        team = self._teams.next(self._backlog.of_team)
        kind = None if team is None else self._kinds[team].next()
        return None if team is None or kind is None else self._lines[team, kind]

    def _charge(self, ticket: Ticket) -> None:
        self._teams.charge(ticket.tenant.team, ticket.cost)
        self._kinds[ticket.tenant.team].charge(ticket.tenant.priority_class, ticket.cost)

    def _left(self, ticket: Ticket) -> None:
        tenant = ticket.tenant
        ticket.queued = False
        self.queued_tickets -= 1
        self._backlog.remove(tenant, ticket.cost)
        if not self._lines[tenant.team, tenant.priority_class]:
            kinds = self._kinds[tenant.team]
            kinds.leave(tenant.priority_class)
            if not kinds:
                self._teams.leave(tenant.team)

    def _engine_has_enough(self) -> bool:
        room = self._room
        held: Iterable[tuple[int, int | None]] = (
            (self.flying_tokens, room.flying_tokens),
            (self._flying_tickets, room.flying_tickets),
            (len(self.flying), room.flying_batches),
        )
        return any(limit is not None and has >= limit for has, limit in held)

    def _fits(self, ticket: Ticket, batch: Batch, tokens: int) -> bool:
        room = self._room
        if tokens > room.batch_tokens or (room.batch_tickets is not None and len(batch) >= room.batch_tickets):
            return False
        return not room.one_prefix or ticket.prompt.shared is batch[0].prompt.shared
