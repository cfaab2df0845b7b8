"""Looks at the caller's side of a connection: whether the answer is read, and whether the caller has left."""

import asyncio
import math
import select

from service.http.limits import ConnectionLimits


class ReadingPace:
    """Bytes that the caller takes earn it time, at most up to the time after which a stalled caller is given up."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._unread_bytes = 0
        self._due_s = math.inf

    def begin(self, unread_bytes: int, now_s: float) -> None:
        self._unread_bytes = unread_bytes
        self._due_s = now_s + self._limits.stall_s

    def too_slow(self, unread_bytes: int, now_s: float) -> bool:
        earned_s = max(0, self._unread_bytes - unread_bytes) / self._limits.bytes_per_s
        self._due_s = min(self._due_s + earned_s, now_s + self._limits.stall_s)
        self._unread_bytes = unread_bytes
        return self._due_s <= now_s


def has_left(transport: asyncio.BaseTransport) -> bool:
    """Whether a caller that shut its sending side has answered to more data with a reset: then both sides are shut."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), 0)
    return bool(poll.poll(0))
