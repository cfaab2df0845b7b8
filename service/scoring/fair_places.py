"""Shares a few places by team: who works in slices may hand its place on after each one.

Guarantees: no more than so many hold a place at a time, and a waiter that is cancelled loses none. A place that is
released goes to the team that was charged least for its weight, and within a team to whoever has waited longest.
"""

import asyncio
from collections import deque

from service.scheduling import Tenant
from service.scheduling.fair_share import FairShare

_LEAST_COST = 1e-6
"""A turn costs something however short it is, so that teams take turns where a clock sees no time pass."""


class FairPlaces:
    """What a place is charged for is measured while it is held, so it is charged when it is handed on or released."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._shares: FairShare[str] = FairShare()
        self._waiters: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def idle_places(self) -> int | None:
        """Places that are free; None while anything waits for one."""
        return None if self._waiters else self._free

    async def acquire(self, tenant: Tenant) -> None:
        """Waits for a place; call `release` once afterwards."""
        if self._free:
            self._free -= 1
            return
        await self._wait(self._enter(tenant))

    def release(self, tenant: Tenant, cost: float) -> None:
        """The place is free, and `cost` is what it was held for since it was acquired or handed on."""
        self._charge(tenant, cost)
        self._pass_on()

    async def hand_on(self, tenant: Tenant, cost: float) -> None:
        """Gives the place to whoever's turn it is, which may be the same, and waits for the next turn. If this is
        cancelled the place is given up, and not to be released."""
        if not self._waiters:  # nobody else wants it
            self._charge(tenant, cost)
            return
        place = self._enter(tenant)
        self._charge(tenant, cost)
        self._pass_on()
        await self._wait(place)

    def _enter(self, tenant: Tenant) -> asyncio.Future[None]:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(tenant.team, deque()).append(place)
        self._shares.enter(tenant.team, tenant.weight)
        return place

    async def _wait(self, place: asyncio.Future[None]) -> None:
        try:
            await place
        except asyncio.CancelledError:
            # Cancelled after the place was given, before the waiter ran: it goes on to the next one.
            if place.done() and not place.cancelled():
                self._pass_on()
            raise

    def _charge(self, tenant: Tenant, cost: float) -> None:
        self._shares.enter(tenant.team, tenant.weight)
        self._shares.charge(tenant.team, max(cost, _LEAST_COST))
        if tenant.team not in self._waiters:
            self._shares.leave(tenant.team)

    def _pass_on(self) -> None:
        while self._waiters and (team := self._shares.next()) is not None:
            waiters = self._waiters[team]
            place = waiters.popleft()
            if not waiters:
                del self._waiters[team]
                self._shares.leave(team)
            if not place.cancelled():
                place.set_result(None)
                return
        self._free += 1
