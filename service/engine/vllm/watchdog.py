"""Watches vLLM for crashes and hangs, and restarts it through the engine.

A crash is a process that is gone, or vLLM's own report of one. A hang is work in flight and not one output for
`hang_s` seconds.

Guarantees: seconds count towards a hang only while this event loop runs, since an output is read by it. Loading and the
first read of an instance are not watched. A watchdog that fails takes the engine down instead of leaving it unwatched.
"""

import logging
from collections.abc import Iterator
from typing import Protocol

from service.clock import Clock
from service.engine.vllm.process import VllmInstance

_log = logging.getLogger(__name__)
POLL_S = 0.2
_LONGEST_PAUSE_S = 60.0


class WatchedEngine(Protocol):
    """The engine as the watchdog sees it. `busy`: it has requests in flight."""

    hang_s: float

    @property
    def instance(self) -> VllmInstance: ...

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
        """Seconds of silence so far. Called at every poll; `outputs` counts what vLLM has sent since its start."""
        now_s = self._clock.now()
        # After a longer step than a few polls this process stood still: what vLLM sent meanwhile is not read yet.
        step_s, self._polled_s = min(now_s - self._polled_s, 3 * POLL_S), now_s
        self._silent_s = self._silent_s + step_s if busy and outputs == self._outputs else 0.0
        self._outputs = outputs
        return self._silent_s


async def watch(engine: WatchedEngine, clock: Clock) -> None:
    """Polls the engine's instance until cancelled, and restarts it after a crash or a hang."""
    try:
        detector = HangDetector(clock)
        while True:
            await clock.sleep(POLL_S)
            reason = engine.instance.crash_reason()
            if reason is None and detector.silent_s(engine.busy, engine.instance.outputs) > engine.hang_s:
                reason = f"vLLM hangs: work in flight and no output for {engine.hang_s:g} s"
            if reason is not None:
                # Down first: whoever waits learns of it now, not after the restart.
                engine.mark_down(reason)
                _log.error("%s; it is restarted", reason)
                await engine.restart()
                detector = HangDetector(clock)
    except Exception:
        _log.exception("the watchdog of vLLM failed")
        engine.mark_down("the watchdog of vLLM failed")


def restart_pauses_s() -> Iterator[float]:
    """The pauses between attempts to restart, which have no end: the operator may free memory or restore the files."""
    pause_s = 1.0
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
