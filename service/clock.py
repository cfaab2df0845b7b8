"""A clock is passed to whatever waits or has a deadline, so that tests advance the time instead of sleeping.

Guarantees: `now` is monotonic seconds of this process. `wall` is for what a person reads: the clocks of two processes
differ, so what they share goes by Redis' time. In the rest of the service ruff bans the operating system's time;
pyproject.toml lists the exceptions with their reasons.
"""

import asyncio
import heapq
import time
from collections.abc import Collection
from typing import Any, Protocol


class Clock(Protocol):
    def now(self) -> float: ...

    def wall(self) -> float:
        """Seconds since 1970, for a date that a person reads."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """Stands still until `advance` is called. It is for tests and for the fake engine."""

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._count, awake))
        await awake

    async def advance(self, seconds: float) -> None:
        """Moves the time on, and wakes each sleeper at its own time, so that it runs before the next."""
        until = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            self._now, _, awake = heapq.heappop(self._sleepers)
            if not awake.done():
                awake.set_result(None)
            await settle()
        self._now = until
        await settle()


_TURN_S = 0.003


class Turns:
    """Long work on the event loop takes turns with everything else there: call `rest` after every small part of it."""

    def __init__(self) -> None:
        self._until_s = time.perf_counter() + _TURN_S

    async def rest(self) -> None:
        """Lets others run where this has run for a few milliseconds."""
        if time.perf_counter() >= self._until_s:
            await asyncio.sleep(0)
            self._until_s = time.perf_counter() + _TURN_S


async def settle(turns: int = 20) -> None:
    """Lets the event loop run what is ready."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def wait_all(clock: Clock, futures: Collection[asyncio.Future[Any]], deadline_s: float | None) -> None:
    """Returns when all are done or the deadline (on the clock) has come. It cancels none of them."""
    pending = {future for future in futures if not future.done()}
    if not pending:
        return
    if deadline_s is None:
        await asyncio.wait(pending)
        return
    alarm = asyncio.ensure_future(clock.sleep(deadline_s - clock.now()))
    try:
        while pending and not alarm.done():
            done, _ = await asyncio.wait({*pending, alarm}, return_when=asyncio.FIRST_COMPLETED)
            pending -= done
    finally:
        alarm.cancel()
