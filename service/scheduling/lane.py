"""Questions of one kind, in order of arrival, and those of them that the engine has.

Always true: state changes in synchronous functions only; what is cancelled or past its deadline never leaves the lane
for the engine; tickets that share a prefix stay together.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.clock import Clock
from service.errors import TimedOut
from service.scheduling.ticket import Ticket, cost_of

Batch = list[Ticket]


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


class Lane:
    def __init__(self, clock: Clock, room: Room) -> None:
        self.queued_tokens = 0
        self.queued_tickets = 0
        self.flying: dict[asyncio.Task[None], Batch] = {}
        self._clock = clock
        self._room = room
        self._queue: deque[Ticket] = deque()
        self._flying_tokens = 0
        self._flying_tickets = 0

    def put(self, tickets: Sequence[Ticket], *, first: bool) -> None:
        if first:
            self._queue.extendleft(reversed(tickets))
        else:
            self._queue.extend(tickets)
        self.queued_tokens += sum(ticket.cost for ticket in tickets)
        self.queued_tickets += len(tickets)

    def take(self) -> Batch:
        """The next batch; empty when nothing waits or the engine has enough. A ticket over the budget goes alone."""
        batch: Batch = []
        if self._engine_has_enough():
            return batch
        tokens, now = 0, self._clock.now()
        while self._queue:
            ticket = self._queue[0]
            if ticket.deadline_s is not None and ticket.deadline_s <= now:
                ticket.answer(TimedOut("the deadline passed before the judge was asked"))
            if not ticket.future.done():
                tokens += cost_of(ticket.ask, batch[-1].prompt if batch else None)
                if batch and not self._fits(ticket, batch, tokens):
                    break
                batch.append(ticket)
            self._queue.popleft()
            self.release(ticket)
        return batch

    def fly(self, task: asyncio.Task[None], batch: Batch) -> None:
        self.flying[task] = batch
        self._flying_tokens += sum(ticket.cost for ticket in batch)
        self._flying_tickets += len(batch)

    def land(self, task: asyncio.Task[None]) -> Batch:
        batch = self.flying.pop(task)
        self._flying_tokens -= sum(ticket.cost for ticket in batch)
        self._flying_tickets -= len(batch)
        return batch

    def release(self, ticket: Ticket) -> None:
        """A ticket leaves the queue's account; the queue itself is swept once most of it has left."""
        if not ticket.queued:
            return
        ticket.queued = False
        self.queued_tokens -= ticket.cost
        self.queued_tickets -= 1
        if len(self._queue) > 64 + 2 * self.queued_tickets:
            self._queue = deque(ticket for ticket in self._queue if ticket.queued)

    def all_tickets(self) -> list[Ticket]:
        return [*self._queue, *(ticket for batch in self.flying.values() for ticket in batch)]

    def clear(self) -> None:
        for ticket in list(self._queue):
            self.release(ticket)
        self._queue.clear()

    def _engine_has_enough(self) -> bool:
        room = self._room
        held: Iterable[tuple[int, int | None]] = (
            (self._flying_tokens, room.flying_tokens),
            (self._flying_tickets, room.flying_tickets),
            (len(self.flying), room.flying_batches),
        )
        return any(limit is not None and has >= limit for has, limit in held)

    def _fits(self, ticket: Ticket, batch: Batch, tokens: int) -> bool:
        room = self._room
        if tokens > room.batch_tokens or (room.batch_tickets is not None and len(batch) >= room.batch_tickets):
            return False
        return not room.one_prefix or ticket.prompt.shared is batch[0].prompt.shared
