"""Says for how long a connection whose last answer is sent still takes what its caller sends.

A connection that is closed while something has come that nobody read is reset, and the reset may overtake the answer.
So what comes is thrown away until the caller has seen the answer and ends.

Guarantees: it is over when nothing comes for a while, when bytes come more slowly than those of a body may, `LONGEST_S`
after the answer, or once more of them have come than are allowed, whichever is first.
"""

from service.http.limits import ConnectionLimits

SILENT_S = 2.0
"""A caller that has a busy machine may send nothing for a while, and go on."""
LONGEST_S = 5.0


class Lingering:
    def __init__(self, limits: ConnectionLimits, now_s: float) -> None:
        self._silent_s = min(SILENT_S, limits.stall_s)
        self._bytes_per_s = limits.bytes_per_s
        self._left_bytes = limits.unread_bytes
        self._until_s = now_s + LONGEST_S
        self.due_s = now_s + self._silent_s

    def take(self, size: int, now_s: float) -> bool:
        """Returns whether the connection may take more."""
        self._left_bytes -= size
        self.due_s = min(self.due_s + size / self._bytes_per_s, now_s + self._silent_s, self._until_s)
        return self._left_bytes >= 0
