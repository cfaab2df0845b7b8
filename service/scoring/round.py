"""What one request waits for: questions and rule checks, by candidate.

Always true: each candidate finishes once, as soon as nothing of it is open or the deadline has come; after `close`
nothing is waited for.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from service.clock import Clock
from service.scoring.pending import Pending

Place = tuple[int, int]
"""Candidate and criterion, by index."""


class Round:
    def __init__(self) -> None:
        self.asked: dict[Place, list[Pending]] = {}
        self.checks: dict[Place, asyncio.Task[bool]] = {}

    async def finished(self, candidates: int, clock: Clock, deadline_s: float | None) -> AsyncGenerator[int, None]:
        """The candidates' indexes in the order of finishing."""
        done: asyncio.Queue[int] = asyncio.Queue()
        open = self._open()
        left = {i: len(futures) for i, futures in open.items()}

        def one_less(i: int, _: asyncio.Future[Any]) -> None:
            left[i] -= 1
            if left[i] == 0:
                done.put_nowait(i)

        for i, futures in open.items():
            for future in futures:
                future.add_done_callback(partial(one_less, i))
        alarm = None if deadline_s is None or not open else asyncio.ensure_future(clock.sleep(deadline_s - clock.now()))
        try:
            for i in range(candidates):
                if i not in open:
                    yield i
            waiting = set(open)
            while waiting and (next := await _first(done, alarm)) is not None:
                waiting.discard(next)
                yield next
            for i in sorted(waiting):
                yield i
        finally:
            if alarm is not None:
                alarm.cancel()

    def close(self) -> None:
        for votes in self.asked.values():
            for one in votes:
                one.release()
        for check in self.checks.values():
            check.add_done_callback(_retrieve)
            check.cancel()

    def _open(self) -> dict[int, list[asyncio.Future[Any]]]:
        open: dict[int, list[asyncio.Future[Any]]] = defaultdict(list)
        for (i, _), votes in self.asked.items():
            for one in votes:
                if one.flight is not None and not one.flight.future.done():
                    open[i].append(one.flight.future)
        for (i, _), check in self.checks.items():
            if not check.done():
                open[i].append(check)
        return open


async def _first(done: asyncio.Queue[int], alarm: asyncio.Future[None] | None) -> int | None:
    """The next that is done; None when the alarm rings before."""
    if alarm is None or not done.empty():
        return await done.get()
    getting = asyncio.ensure_future(done.get())
    both: tuple[asyncio.Future[Any], ...] = (getting, alarm)
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return getting.result() if getting.done() else None
    finally:
        getting.cancel()


def _retrieve(check: asyncio.Task[bool]) -> None:
    """Look at the outcome of a check that nobody waits for any more, so that asyncio does not report it."""
    if not check.cancelled():
        check.exception()
