"""Between those who ask and the engine: a bounded queue, micro-batches by token budget, and one runner.

Always true: state changes in synchronous functions only; every ticket is answered exactly once, whatever happens; what
is full refuses at the door; a ticket that is cancelled or past its deadline never reaches the engine; a failed batch
fails its members and nobody else; if the runner dies every ticket fails and new work is refused.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from service.clock import Clock, wait_all
from service.engine.base import LabelRead, Outcome, Prompt
from service.errors import Cancelled, EngineFailed, JudgementError, Overloaded, TimedOut, Unavailable

log = logging.getLogger(__name__)

Ask = Callable[[Sequence[Prompt]], Awaitable[Sequence[Outcome]]]


@dataclass(frozen=True, slots=True)
class Limits:
    """In tokens that will be computed. `max_in_flight` is in batches."""

    max_batch_tokens: int = 8192
    max_queued_tokens: int = 1_000_000
    max_in_flight: int = 2


class Ticket:
    """One prompt's place in the queue. `future` holds its read or its error."""

    __slots__ = ("_release", "cost", "deadline_s", "future", "prompt", "queued")

    def __init__(
        self, prompt: Prompt, cost: int, deadline_s: float | None, release: Callable[["Ticket"], None]
    ) -> None:
        self.prompt = prompt
        self.cost = cost
        self.deadline_s = deadline_s
        self.queued = True
        self.future: asyncio.Future[LabelRead] = asyncio.get_running_loop().create_future()
        self._release = release

    def answer(self, outcome: Outcome) -> None:
        if self.future.done():
            return
        if isinstance(outcome, LabelRead):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)
            self.future.exception()  # retrieved here: a ticket whose waiter has left is no news

    def postpone(self, deadline_s: float | None) -> None:
        """Someone more patient waits too."""
        self.deadline_s = deadline_s

    def cancel(self) -> None:
        """Nobody waits any more: its place is free at once."""
        self.future.cancel()
        self._release(self)


class Scheduler:
    def __init__(self, ask: Ask, clock: Clock, limits: Limits) -> None:
        self._ask = ask
        self._clock = clock
        self._limits = limits
        self._queue: deque[Ticket] = deque()
        self._queued_tokens = 0
        self._queued_tickets = 0
        self._in_flight: dict[asyncio.Task[None], list[Ticket]] = {}
        self._work = asyncio.Event()
        self._refusal: str | None = None
        self._tokens_per_s: float | None = None
        self._runner: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = self._refusal or "accepting"
        queued = f"{self._queued_tickets} queued, {self._queued_tokens} tokens"
        return f"<Scheduler {queued}, {len(self._in_flight)} running, {state}>"

    @property
    def accepting(self) -> bool:
        return self._refusal is None

    @property
    def queued_tokens(self) -> int:
        return self._queued_tokens

    @property
    def running_prompts(self) -> int:
        return sum(len(batch) for batch in self._in_flight.values())

    def start(self) -> None:
        self._runner = asyncio.create_task(self._run(), name="scheduler")
        self._runner.add_done_callback(self._runner_gone)

    def check_room(self, tokens: int = 1) -> None:
        """Raises Overloaded, with when to come back, or Unavailable."""
        if self._refusal is not None:
            raise Unavailable(self._refusal)
        excess = self._queued_tokens + tokens - self._limits.max_queued_tokens
        if excess > 0 and self._queued_tickets:
            raise Overloaded("the judge's queue is full; try again later", self.drain_s(excess))

    def submit(self, prompts: Sequence[Prompt], deadlines_s: Sequence[float | None]) -> list[Ticket]:
        """A ticket a prompt, all or none. Deadlines are points on the clock. Raises as `check_room`."""
        costs = [len(prompt.own) + _shared_cost(prompt, before) for prompt, before in _with_previous(prompts)]
        self.check_room(sum(costs))
        rows = zip(prompts, costs, deadlines_s, strict=True)
        tickets = [Ticket(prompt, cost, deadline_s, self._release) for prompt, cost, deadline_s in rows]
        self._queue.extend(tickets)
        self._queued_tokens += sum(costs)
        self._queued_tickets += len(tickets)
        self._work.set()
        return tickets

    def drain_s(self, tokens: int) -> float:
        """Seconds until `tokens` are computed at the measured rate, 1 to 60; 1 before anything was measured."""
        if self._tokens_per_s is None:
            return 1.0
        return min(60.0, max(1.0, math.ceil(tokens / self._tokens_per_s)))

    def take(self) -> list[Ticket]:
        """The next batch: in order of arrival, within the token budget, without the cancelled and the expired. A prompt
        larger than the budget goes alone."""
        batch: list[Ticket] = []
        tokens, now = 0, self._clock.now()
        while self._queue:
            ticket = self._queue[0]
            if ticket.deadline_s is not None and ticket.deadline_s <= now:
                ticket.answer(TimedOut("the deadline passed before the judge was asked"))
            if not ticket.future.done():
                tokens += len(ticket.prompt.own) + _shared_cost(ticket.prompt, batch[-1].prompt if batch else None)
                if batch and tokens > self._limits.max_batch_tokens:
                    break
                batch.append(ticket)
            self._queue.popleft()
            self._release(ticket)
        return batch

    def _release(self, ticket: Ticket) -> None:
        """A ticket leaves the queue's account; the queue itself is swept once most of it has left."""
        if not ticket.queued:
            return
        ticket.queued = False
        self._queued_tokens -= ticket.cost
        self._queued_tickets -= 1
        if len(self._queue) > 64 + 2 * self._queued_tickets:
            self._queue = deque(ticket for ticket in self._queue if ticket.queued)

    async def drain(self, grace_s: float) -> None:
        """Refuse new work, finish what was accepted; what is left after `grace_s` ends as cancelled."""
        self._refusal = "the service is shutting down"
        accepted = [*self._queue, *(ticket for batch in self._in_flight.values() for ticket in batch)]
        await wait_all(self._clock, [ticket.future for ticket in accepted], self._clock.now() + grace_s)
        if self._runner is not None:
            self._runner.cancel()
        for task in list(self._in_flight):
            task.cancel()
        self._fail_all(Cancelled("the service shut down before the judge answered"))

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while len(self._in_flight) < self._limits.max_in_flight and (batch := self.take()):
                task = asyncio.create_task(self._answer(batch), name="batch")
                self._in_flight[task] = batch
                task.add_done_callback(self._batch_done)

    def _batch_done(self, task: asyncio.Task[None]) -> None:
        batch = self._in_flight.pop(task)
        for ticket in batch:  # only a batch that was itself cancelled leaves any unanswered
            ticket.answer(Cancelled("the judge was stopped before it answered"))
        self._work.set()

    async def _answer(self, batch: list[Ticket]) -> None:
        started = self._clock.now()
        try:
            outcomes = await self._ask([ticket.prompt for ticket in batch])
            if len(outcomes) != len(batch):
                raise EngineFailed(f"the engine answered {len(outcomes)} of {len(batch)} prompts")
        except JudgementError as error:
            outcomes = [error] * len(batch)
        except Exception as error:
            log.exception("the engine failed a batch of %d", len(batch))
            outcomes = [EngineFailed(f"the engine failed: {type(error).__name__}")] * len(batch)
        else:
            self._measure(sum(ticket.cost for ticket in batch), self._clock.now() - started)
        for ticket, outcome in zip(batch, outcomes, strict=True):
            ticket.answer(outcome)

    def _measure(self, tokens: int, seconds: float) -> None:
        if seconds > 0:
            rate = tokens / seconds
            self._tokens_per_s = rate if self._tokens_per_s is None else 0.8 * self._tokens_per_s + 0.2 * rate

    def _runner_gone(self, runner: asyncio.Task[None]) -> None:
        if not runner.cancelled() and runner.exception() is not None:
            log.critical("the scheduler's runner died", exc_info=runner.exception())
            self._refusal = "the judge's scheduler died; restart the service"
            self._fail_all(EngineFailed("the scheduler died"))

    def _fail_all(self, error: JudgementError) -> None:
        waiting = [*self._queue, *(ticket for batch in self._in_flight.values() for ticket in batch)]
        for ticket in waiting:
            ticket.answer(error)
            self._release(ticket)
        self._queue.clear()


def _shared_cost(prompt: Prompt, before: Prompt | None) -> int:
    return 0 if before is not None and before.shared is prompt.shared else len(prompt.shared)


def _with_previous(prompts: Sequence[Prompt]) -> list[tuple[Prompt, Prompt | None]]:
    return list(zip(prompts, [None, *prompts[:-1]], strict=True)) if prompts else []
