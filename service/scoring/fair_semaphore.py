"""Who may render next: a few at a time, by fair share of teams, so that no team's requests stand behind the work of
tokenising another's.

Always true: a turn is given back once; who waits gets one in the order of shares, and of arrival within a team.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.scheduling import Tenant
from service.scheduling.fair_share import FairShare

_Waiting = tuple[asyncio.Future[None], int]


class Turns:
    def __init__(self, most: int) -> None:
        self._free = most
        self._shares: FairShare[str] = FairShare()
        self._lines: dict[str, deque[_Waiting]] = {}

    @asynccontextmanager
    async def turn(self, tenant: Tenant, cost: int) -> AsyncIterator[None]:
        """`cost` is what the turn counts for in the team's share."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(tenant, cost)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, tenant: Tenant, cost: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(tenant.team, deque()).append((turn, cost))
        self._shares.enter(tenant.team, tenant.weight)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while (team := self._shares.next()) is not None:
            line = self._lines[team]
            turn, cost = line.popleft()
            if not turn.cancelled():
                self._shares.charge(team, cost)
            if not line:
                del self._lines[team]
                self._shares.leave(team)
            if not turn.cancelled():
                turn.set_result(None)
                return
        self._free += 1
