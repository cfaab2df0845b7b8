"""Bounds the requests under way at once: half as many when the service is overloaded, slowly more when it is not.

Guarantees: the limit is between one and `most`. Requests that wait start in the order of their arrival, as soon as the
limit allows it. Requests that were under way together halve the limit once, however many of them failed.
"""

import asyncio
from collections import deque


class Throttle:
    """One client's limit (additive increase, multiplicative decrease). `limit` is a fraction; whole requests fit below
    it."""

    def __init__(self, most: int) -> None:
        self.limit = float(most)
        self.under_way = 0
        self._most = most
        self._cuts = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> int:
        """Waits until the limit allows one more. Returns the number of cuts so far, for `cut`."""
        if self._has_room():  # Then no request waits: whatever makes room starts those that do.
            self.under_way += 1
        else:
            await self._turn()
        return self._cuts

    def leave(self) -> None:
        self.under_way -= 1
        self._start_waiting()

    def grow(self) -> None:
        """A request succeeded. As many successes as the limit add one to it."""
        self.limit = min(float(self._most), self.limit + 1.0 / self.limit)
        self._start_waiting()

    def cut(self, entered: int) -> None:
        """A request that entered after `entered` cuts was too much. One that was sent before the last cut tells
        nothing new."""
        if entered == self._cuts:
            self.limit = max(1.0, self.limit / 2.0)
            self._cuts += 1

    def _has_room(self) -> bool:
        return self.under_way < int(self.limit)

    async def _turn(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # It was started and cancelled in the same moment: give its place back.
                self.leave()
            raise

    def _start_waiting(self) -> None:
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.done():
                self.under_way += 1
                turn.set_result(None)
