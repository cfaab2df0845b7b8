"""How many requests are under way at once: half as many when the service is overloaded, slowly more when it is not.

Always true: room for one at least and `most` at most; who waits is let in by order of coming, as soon as there is room;
what was under way together halves the room once, however much of it failed.
"""

import asyncio
from collections import deque


class Throttle:
    """The room that one client gives itself. `limit` is a fraction; whole requests fit below it."""

    def __init__(self, most: int) -> None:
        self.limit = float(most)
        self.under_way = 0
        self._most = most
        self._cuts = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> int:
        """Waits for room. Returns when it was: `cut` wants to know."""
        if self._room():  # then nobody waits: whatever makes room lets them in
            self.under_way += 1
        else:
            await self._turn()
        return self._cuts

    def leave(self) -> None:
        self.under_way -= 1
        self._admit()

    def grow(self) -> None:
        """A request succeeded: a round of them adds one to the limit."""
        self.limit = min(float(self._most), self.limit + 1.0 / self.limit)
        self._admit()

    def cut(self, entered: int) -> None:
        """A request that came in at `entered` was too much. Sent before the last cut it tells nothing new."""
        if entered == self._cuts:
            self.limit = max(1.0, self.limit / 2.0)
            self._cuts += 1

    def _room(self) -> bool:
        return self.under_way < int(self.limit)

    async def _turn(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # let in and called off in the same moment
                self.leave()
            raise

    def _admit(self) -> None:
        while self._waiting and self._room():
            turn = self._waiting.popleft()
            if not turn.done():
                self.under_way += 1
                turn.set_result(None)
