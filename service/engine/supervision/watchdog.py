"""The watchdog watches an engine's processes for crashes and hangs, and restarts them through the engine.

A crash is a process that is gone, or the engine's own report of one. A hang is work in flight and not one output for
`hang_s` seconds.

Guarantees: seconds count towards a hang only while this event loop runs, since an output is read by it. Loading and the
first read of an instance are not watched. A watchdog that fails takes the engine down instead of leaving it unwatched.
"""

import asyncio
import logging
from typing import Protocol

from service.clock import Clock

_log = logging.getLogger(__name__)
POLL_S = 0.2


class WatchedInstance(Protocol):
    """An engine's processes from one start to their stop. `outputs` counts what came from them."""

    @property
    def outputs(self) -> int: ...

    def crash_reason(self) -> str | None:
        """The reason why this instance cannot go on, None while it can."""


class WatchedEngine(Protocol):
    """The engine as the watchdog sees it. `busy`: it has requests in flight. `watched_name` is what log lines and
    failures call its processes."""

    hang_s: float
    watched_name: str

    @property
    def instance(self) -> WatchedInstance: ...

    @property
    def busy(self) -> bool: ...

    def mark_down(self, reason: str) -> None: ...

    async def restart(self) -> None: ...


class HangDetector:
    """Measures how long there has been work in flight without any output."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._silent_s = 0.0
        self._outputs = 0
        self._polled_s = clock.now()

    def silent_s(self, busy: bool, outputs: int) -> float:
        """Seconds of silence so far. Called at every poll; `outputs` counts what came since the start."""
        now_s = self._clock.now()
        # After a longer step than a few polls this process stood still: what was sent meanwhile is not read yet.
        step_s, self._polled_s = min(now_s - self._polled_s, 3 * POLL_S), now_s
        self._silent_s = self._silent_s + step_s if busy and outputs == self._outputs else 0.0
        self._outputs = outputs
        return self._silent_s


async def watch(engine: WatchedEngine, clock: Clock) -> None:
    """Polls the engine's instance until cancelled, and restarts it after a crash or a hang."""
    name = engine.watched_name
    try:
        detector = HangDetector(clock)
        while True:
            await clock.sleep(POLL_S)
            reason = engine.instance.crash_reason()
            if reason is None and detector.silent_s(engine.busy, engine.instance.outputs) > engine.hang_s:
                reason = f"{name} hangs: work in flight and no output for {engine.hang_s:g} s"
            if reason is not None:
                # Down first: whoever waits learns of it now, not after the restart.
                engine.mark_down(reason)
                _log.error("%s; it is restarted", reason)
                await engine.restart()
                detector = HangDetector(clock)
    except Exception:
        _log.exception("the watchdog of %s failed", name)
        engine.mark_down(f"the watchdog of {name} failed")


async def end_watch(watchdog: asyncio.Task[None]) -> None:
    """Returns when the task of `watch` has ended."""
    # Cancelled until it ends: what it waits for may lose a cancellation.
    while not watchdog.done():
        watchdog.cancel()
        await asyncio.wait({watchdog}, timeout=0.1)
