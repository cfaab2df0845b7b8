"""What one request still waits for: its queries, rule checks and extractions, and which candidate is done with them.

Guarantees: each candidate is named once, as soon as nothing of it is open, or at the deadline.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from service.clock import Clock, Turns
from service.scoring.evaluator import release_all
from service.scoring.extracting import Extractions
from service.scoring.results import BothAskings, PartOf, Pending, Waiting
from service.scoring.rule_checks import Place
from service.verifiers.checks import RuleChecks

_PART = 512
"""Places that are looked at without a rest."""


class OpenResults:
    """The queries and rule checks that one request waits for. `places` has the index of each place's first query among
    `pending`, where its `votes` stand together, and `priors` that of the prior which its calibration weighs. A query
    may be about several places: `in_batch` has the place of each among these."""

    def __init__(self) -> None:
        self.places: dict[Place, int] = {}
        self.in_batch: dict[Place, int] = {}
        self.priors: dict[Place, int] = {}
        self.votes = 1
        self.pending: Sequence[Pending | BothAskings] = []
        self.checks: dict[Place, asyncio.Future[bool]] = {}
        self.rules: RuleChecks | None = None
        self.extractions = Extractions()

    def of(self, place: Place) -> Sequence[Waiting]:
        start = self.places[place]
        found = self.pending[start : start + self.votes]
        if not self.in_batch:
            return found
        return [PartOf(one, self.in_batch[place]) for one in found if isinstance(one, Pending)]

    def prior_of(self, place: Place) -> Waiting | None:
        return self.pending[self.priors[place]] if place in self.priors else None

    async def finished(self, candidates: int, clock: Clock, deadline_s: float | None) -> AsyncGenerator[int, None]:
        """The candidates' indexes in the order of finishing; at the deadline those that are left, in their order."""
        countdown = await self._count(candidates)
        waiting = set(range(candidates))
        alarm = None
        if deadline_s is not None and countdown.done.qsize() < candidates:
            alarm = asyncio.ensure_future(clock.sleep(deadline_s - clock.now()))
        try:
            while waiting and (next := await _first(countdown.done, alarm)) is not None:
                waiting.discard(next)
                yield next
            for i in sorted(waiting):
                yield i
        finally:
            if alarm is not None:
                alarm.cancel()

    async def _count(self, candidates: int) -> "_Countdown":
        countdown, turns = _Countdown(candidates), Turns()
        for n, place in enumerate(self.places):
            prior = self.prior_of(place)
            for one in self.of(place) if prior is None else (*self.of(place), prior):
                for flight in one.flights:
                    countdown.wait_for(place[0], flight.future)
            if not n % _PART:
                await turns.rest()
        for (i, _), check in self.checks.items():
            countdown.wait_for(i, check)
        for (i, _), extraction in self.extractions.open.items():
            countdown.wait_for(i, extraction)
        for i in range(candidates):
            countdown.one_less(i)
        return countdown

    def release(self) -> None:
        """Nothing waits for them any more. May be called again: each flight counts those that wait for it."""
        pending, self.pending = self.pending, []
        release_all(pending)
        self.extractions.release()
        if self.rules is not None:
            self.rules.close()


class _Countdown:
    """`done` gets each candidate when the last of what it waits for has ended."""

    def __init__(self, candidates: int) -> None:
        self.done: asyncio.Queue[int] = asyncio.Queue()
        # Each has one that ends when all are counted: others may end before.
        self._left = dict.fromkeys(range(candidates), 1)

    def wait_for(self, i: int, future: asyncio.Future[Any]) -> None:
        if not future.done():
            self._left[i] += 1
            future.add_done_callback(partial(self.one_less, i))

    def one_less(self, i: int, _: asyncio.Future[Any] | None = None) -> None:
        self._left[i] -= 1
        if self._left[i] == 0:
            self.done.put_nowait(i)


async def _first(done: asyncio.Queue[int], alarm: asyncio.Future[None] | None) -> int | None:
    """The next index that is done; None where the alarm rings before."""
    if alarm is None or not done.empty():
        return await done.get()
    getting = asyncio.ensure_future(done.get())
    both: tuple[asyncio.Future[Any], ...] = (getting, alarm)
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return getting.result() if getting.done() else None
    finally:
        getting.cancel()
