"""How fast the judge computes, measured: it decides what is let in, and when the rest may come back.

Always true: only time with a batch at the engine counts, and counts once however many are there; a failed batch counts
neither as tokens nor as time. A batch weighs by its length, so that a short one, or a slow start, is soon outweighed.
"""

from collections import deque

_KEPT = 0.9
_RECENT = 16


class Rate:
    """`tokens_per_s` is None before anything was measured."""

    def __init__(self) -> None:
        self._running = 0
        self._since_s = 0.0
        self._tokens = 0.0
        self._seconds = 0.0
        self._uncounted_s = 0.0

    @property
    def tokens_per_s(self) -> float | None:
        return self._tokens / self._seconds if self._seconds > 0 and self._tokens > 0 else None

    def begin(self, now_s: float) -> None:
        self._pass(now_s)
        self._running += 1

    def end(self, now_s: float, tokens: int | None) -> float:
        """A batch left the engine; None: it failed. Returns its part of the time in which the engine was busy."""
        self._pass(now_s)
        self._running -= 1
        if tokens is not None:
            self._tokens = _KEPT * self._tokens + tokens
            self._seconds = _KEPT * self._seconds + self._uncounted_s
        busy_s, self._uncounted_s = self._uncounted_s, 0.0
        return busy_s

    def _pass(self, now_s: float) -> None:
        if self._running:
            self._uncounted_s += now_s - self._since_s
        self._since_s = now_s


class Quickest:
    """The shortest of the last times that batches took: what the next one takes at least."""

    def __init__(self) -> None:
        self._recent_s: deque[float] = deque(maxlen=_RECENT)

    @property
    def seconds(self) -> float:
        """0 before anything was measured."""
        return min(self._recent_s, default=0.0)

    def count(self, seconds: float) -> None:
        self._recent_s.append(seconds)
