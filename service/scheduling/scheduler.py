"""The runner between lanes and engine: reads (one forward pass) and writes (decoding) in lanes of their own, so that
neither waits for the other's batches.

Always true: every ticket is answered exactly once, whatever happens; what is full, or asks an engine that is down,
refuses at the door; a failed batch fails its members and nobody else; if the runner dies every ticket fails and new
work is refused. The engine holds about `max_in_flight` batches of tokens, so that order and deadlines mean something.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from service.clock import Clock, settle, wait_all
from service.engine.base import Ask, Engine, Generated, Outcome, Prompt, Read, Write
from service.errors import Cancelled, EngineFailed, JudgementError, Overloaded, Unavailable
from service.scheduling.lane import Batch, Lane, Room
from service.scheduling.ticket import Answer, Ticket, cost_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """In tokens that will be computed. `max_in_flight` is in batches, `max_writing` in answers being written."""

    max_batch_tokens: int = 8192
    max_queued_tokens: int = 1_000_000
    max_in_flight: int = 2
    max_writing: int = 64


class Scheduler:
    def __init__(self, engine: Engine, clock: Clock, limits: Limits) -> None:
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._reads, self._writes = (Lane(clock, room) for room in _rooms(engine.streams, limits))
        self._work = asyncio.Event()
        self._refusal: str | None = None
        self._closed = False
        self._rate = _Rate()
        self._runner: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        queued = f"{self._queued_tickets} queued, {self.queued_tokens} tokens"
        running = len(self._reads.flying) + len(self._writes.flying)
        return f"<Scheduler {queued}, {running} running, {self.why_not or 'accepting'}>"

    @property
    def why_not(self) -> str | None:
        """Why nothing can be asked now; None when it can."""
        return self._refusal or self._engine.down

    @property
    def queued_tokens(self) -> int:
        return self._reads.queued_tokens + self._writes.queued_tokens

    @property
    def running_prompts(self) -> int:
        return sum(len(batch) for lane in self._lanes for batch in lane.flying.values())

    @property
    def _lanes(self) -> tuple[Lane, Lane]:
        return self._reads, self._writes

    @property
    def _queued_tickets(self) -> int:
        return self._reads.queued_tickets + self._writes.queued_tickets

    def start(self) -> None:
        self._runner = asyncio.create_task(self._run(), name="scheduler")
        self._runner.add_done_callback(self._runner_gone)

    def check_room(self, tokens: int = 1) -> None:
        """Raises Overloaded, with when to come back, or Unavailable."""
        if (reason := self.why_not) is not None:
            raise Unavailable(reason)
        excess = self.queued_tokens + tokens - self._limits.max_queued_tokens
        if excess > 0 and self._queued_tickets:
            raise Overloaded("the judge's queue is full; try again later", self.drain_s(excess))

    def submit(self, asks: Sequence[Ask], deadlines_s: Sequence[float | None], *, begun: bool = False) -> list[Ticket]:
        """A ticket a question, all or none, in order. Deadlines are points on the clock. Raises as `check_room`.

        `begun`: the next step of questions that were let in before; they find room, and go first.
        """
        costs = [cost_of(ask, before) for ask, before in _with_previous(asks)]
        if not begun:
            self.check_room(sum(costs))
        elif self._closed:
            raise EngineFailed("the judge was stopped before its next step")
        rows = zip(asks, costs, deadlines_s, strict=True)
        tickets = [Ticket(ask, cost, deadline_s, self._left) for ask, cost, deadline_s in rows]
        self._reads.put([ticket for ticket in tickets if isinstance(ticket.ask, Read)], first=begun)
        self._writes.put([ticket for ticket in tickets if isinstance(ticket.ask, Write)], first=begun)
        self._work.set()
        return tickets

    def drain_s(self, tokens: int) -> float:
        """Seconds until `tokens` are computed at the measured rate, 1 to 60; 1 before anything was measured."""
        if self._rate.tokens_per_s is None:
            return 1.0
        return min(60.0, max(1.0, math.ceil(tokens / self._rate.tokens_per_s)))

    def take(self) -> tuple[Lane, Batch] | None:
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

    def _unanswered(self) -> list[asyncio.Future[Answer]]:
        tickets = (ticket for lane in self._lanes for ticket in lane.all_tickets())
        return [ticket.future for ticket in tickets if not ticket.future.done()]

    def _left(self, ticket: Ticket) -> None:
        if not ticket.queued:
            self._engine.abandon(ticket.prompt)
        (self._reads if isinstance(ticket.ask, Read) else self._writes).release(ticket)

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while (taken := self.take()) is not None:
                lane, batch = taken
                task = asyncio.create_task(self._answer(batch), name="batch")
                lane.fly(task, batch)
                task.add_done_callback(partial(self._landed, lane))

    def _landed(self, lane: Lane, task: asyncio.Task[None]) -> None:
        for ticket in lane.land(task):  # only a batch that was itself cancelled leaves any unanswered
            ticket.answer(Cancelled("the judge was stopped before it answered"))
        self._work.set()

    async def _answer(self, batch: Batch) -> None:
        started_s = self._clock.now()
        outcomes: Sequence[Outcome | Generated]
        try:
            outcomes = await self._ask([ticket.ask for ticket in batch])
            if len(outcomes) != len(batch):
                raise EngineFailed(f"the engine answered {len(outcomes)} of {len(batch)} prompts")
        except JudgementError as error:
            outcomes = [error] * len(batch)
        except Exception as error:
            log.exception("the engine failed a batch of %d", len(batch))
            outcomes = [EngineFailed(f"the engine failed: {type(error).__name__}")] * len(batch)
        else:
            self._rate.count(sum(ticket.cost for ticket in batch), started_s, self._clock.now())
        for ticket, outcome in zip(batch, outcomes, strict=True):
            ticket.answer(outcome)

    async def _ask(self, asks: Sequence[Ask]) -> Sequence[Outcome | Generated]:
        """Reads of one lane may ask for different labels; each kind is a call of its own."""
        writes = [ask for ask in asks if isinstance(ask, Write)]
        if len(writes) == len(asks):
            return await self._engine.generate([ask.prompt for ask in writes], [ask.sampling for ask in writes])
        reads = [ask for ask in asks if isinstance(ask, Read)]
        if len(reads) != len(asks):
            raise EngineFailed("a batch held reads and writes")
        labels = {ask.label_ids for ask in reads}
        if len(labels) == 1:
            return await self._engine.read_labels([ask.prompt for ask in reads], reads[0].label_ids)
        found: dict[int, Outcome] = {}
        for label_ids in labels:
            places = [place for place, ask in enumerate(reads) if ask.label_ids == label_ids]
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


class _Rate:
    """Tokens a second while there was work, smoothed. Batches overlap, so time counts from the last one's end."""

    def __init__(self) -> None:
        self.tokens_per_s: float | None = None
        self._last_s = -math.inf
        self._tokens = 0

    def count(self, tokens: int, started_s: float, ended_s: float) -> None:
        self._tokens += tokens
        seconds = ended_s - max(started_s, self._last_s)
        if seconds > 0:
            rate = self._tokens / seconds
            self.tokens_per_s = rate if self.tokens_per_s is None else 0.8 * self.tokens_per_s + 0.2 * rate
            self._last_s, self._tokens = ended_s, 0


def _rooms(streams: bool, limits: Limits) -> tuple[Room, Room]:
    """A streaming engine batches by itself and gets one response's questions at a time; another gets full batches."""
    tokens, batches = limits.max_batch_tokens, limits.max_in_flight
    if streams:
        return (
            Room(batch_tokens=tokens, one_prefix=True, flying_tokens=tokens * batches),
            Room(batch_tokens=tokens, batch_tickets=1, flying_tickets=limits.max_writing),
        )
    return (
        Room(batch_tokens=tokens, flying_batches=batches),
        Room(batch_tokens=tokens, batch_tickets=limits.max_writing, flying_batches=1),
    )


def _with_previous(asks: Sequence[Ask]) -> list[tuple[Ask, Prompt | None]]:
    return list(zip(asks, [None, *(ask.prompt for ask in asks[:-1])], strict=True)) if asks else []
