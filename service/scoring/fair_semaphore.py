"""A fair semaphore admits a few holders at a time, by fair share of teams, so that none waits behind another's queue.

Guarantees: a place that is released goes to the next waiter, in the order of shares, and of arrival within a team; a
waiter that is cancelled loses no place.
"""

import asyncio
from collections import deque

from service.scheduling import Tenant
from service.scheduling.fair_share import FairShare

_Waiter = tuple[asyncio.Future[None], int]


class FairSemaphore:
    def __init__(self, places: int) -> None:
        self._free = places
        self._shares: FairShare[str] = FairShare()
        self._waiters: dict[str, deque[_Waiter]] = {}

    @property
    def idle_places(self) -> int | None:
        """Places that are free; None while anything waits for one."""
        return None if self._waiters or self._shares else self._free

    async def acquire(self, tenant: Tenant, cost: int) -> None:
        """Waits for a place; call `release` once afterwards. `cost` is what it counts for in the team's share."""
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(tenant.team, deque()).append((place, cost))
        self._shares.enter(tenant.team, tenant.weight)
        try:
            await place
        except asyncio.CancelledError:
            # Cancelled after the place was given, before the waiter ran: it goes on to the next one.
            if place.done() and not place.cancelled():
                self.release()
            raise

    def release(self) -> None:
        if not self._waiters:
            self._free += 1
            return
        while (team := self._shares.next()) is not None:
            waiters = self._waiters[team]
            place, cost = waiters.popleft()
            if not place.cancelled():
                self._shares.charge(team, cost)
            if not waiters:
                del self._waiters[team]
                self._shares.leave(team)
            if not place.cancelled():
                place.set_result(None)
                return
        self._free += 1
