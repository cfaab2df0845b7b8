"""Keeps track of whether the judge's server answers, is still the judge that was named, and takes work now.

    up <--> doubted --> down --> up
    up, doubted, down --> paused --> up or doubted
    any --> changed --> up or down

A call that failed casts doubt: the server is probed, and goes down when the probes fail too. So one caller's bad
request can cost others a probe and nothing else.

Guarantees: the state changes in `_move` alone, unless the watching itself fails, and a change that the table does not
show raises IllegalState. While the server is down or changed there is a reason, and it is probed until it answers as
the same judge. A server that asks to be left alone (429, or 503, with `Retry-After`) gets no call before the time that
it named, up to `LONGEST_PAUSE_S`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Literal

from service.clock import Clock
from service.errors import EngineFailed, JudgeBusy

_log = logging.getLogger(__name__)

State = Literal["up", "doubted", "paused", "down", "changed"]

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        "up": frozenset({"doubted", "paused", "changed"}),
        "doubted": frozenset({"up", "paused", "down", "changed"}),
        "paused": frozenset({"up", "doubted", "changed"}),
        "down": frozenset({"up", "paused", "changed"}),
        "changed": frozenset({"up", "down"}),
    }
)

PROBES_BEFORE_DOWN = 2
FIRST_PROBE_S = 0.2
HEARTBEAT_S = 10.0
"""An idle server is asked who it is so often, and so is one that is down or has changed at the most."""
LONGEST_PAUSE_S = 300.0


class IllegalState(RuntimeError):
    """The state was asked for a change that it does not have. This is a bug of the caller."""


class Upstream:
    """What is known of the server. Calls and probes report to it; `run` probes when it is time.

    `probe` is given whether to ask for a verdict, or only for who the server is. It returns, or raises `Changed`,
    `Busy`, or anything else for a server that does not answer.
    """

    def __init__(self, clock: Clock, probe: Callable[[bool], Awaitable[None]]) -> None:
        self.state: State = "up"
        self.reason: str | None = None
        self._clock = clock
        self._probe = probe
        self._failed_probes = 0
        self._answers = 0
        self._backoff_s = FIRST_PROBE_S
        self._due_s = clock.now() + HEARTBEAT_S
        self._since_s = clock.now()
        self._rescheduled = asyncio.Event()
        self._unpaused = asyncio.Event()
        self._unpaused.set()

    @property
    def pause_s(self) -> float:
        """Seconds for which the server asked to be left alone; 0 where it did not."""
        return max(1.0, self._due_s - self._clock.now()) if self.state == "paused" else 0.0

    async def clear(self, timeout_s: float) -> None:
        """Waits while the server is paused. Raises JudgeBusy when that takes longer, EngineFailed where it is down."""
        while self.state == "paused":
            try:
                async with asyncio.timeout(timeout_s):
                    await self._unpaused.wait()
            except TimeoutError:
                raise JudgeBusy("the judge's server takes no work now; try again later") from None
        if self.reason is not None:
            raise EngineFailed(self.reason)

    def call_answered(self) -> None:
        self._answers += 1
        if self.state == "doubted":
            self._set_up()

    def call_failed(self) -> None:
        """The server is at fault, or the connection. It is probed soon."""
        if self.state == "up":
            self._move("doubted")
            self._schedule(FIRST_PROBE_S)

    def pause(self, seconds: float) -> None:
        """The server asks to be left alone."""
        seconds = min(seconds, LONGEST_PAUSE_S)
        if self.state == "paused":
            if self._clock.now() + seconds > self._due_s:
                self._schedule(seconds)
            return
        if self.state == "changed":  # who answers is another judge, busy or not
            return
        self._move("paused")
        self.reason = None
        self._unpaused.clear()
        self._schedule(seconds)
        _log.warning("the judge's server takes no work for %.3g s, as it says", seconds)

    def changed(self, differences: str) -> None:
        """Another judge answers."""
        if self.state != "changed":
            self._move("changed")
            _log.error("another judge answers, no new work is taken: %s", differences)
        self._failed_probes = 0
        self.reason = (
            "the judge's server serves another judge now (the log says in what it differs): restart this service to "
            "serve that one under its own fingerprint, or bring the first one back"
        )
        self._grow()

    async def run(self) -> None:
        """Probes the server when it is time, until cancelled. A bug here takes the engine down, and no call hangs."""
        try:
            while True:
                await self._sleep()
                await self._look()
        except Exception:
            _log.exception("what watches the judge's server failed")
            self.state, self.reason = "down", "what watches the judge's server failed; restart the service"
            self._unpaused.set()

    async def _look(self) -> None:
        answers = self._answers
        try:
            await self._probe(self.state != "up")
        except Changed as error:
            self.changed(str(error))
        except Busy as error:
            self._probed_busy(error.pause_s)
        except Exception as error:
            if answers == self._answers:
                self._probed_in_vain(error)
            else:  # a server that answers calls meanwhile is alive, whatever became of the probe
                self._schedule(HEARTBEAT_S)
        else:
            self._set_up()

    def _probed_busy(self, pause_s: float) -> None:
        if self.state == "changed":
            self._grow()
        else:
            self.pause(pause_s)

    def _probed_in_vain(self, error: Exception) -> None:
        self._failed_probes += 1
        if self.state in ("up", "paused"):
            self._move("doubted")
        if self.state != "down" and self._failed_probes >= PROBES_BEFORE_DOWN:
            self._move("down")
            _log.error("the judge's server does not answer, no new work is taken until it does: %s", error)
        if self.state == "down":
            self.reason = "the judge's server does not answer; it is asked again and again"
        self._grow()

    def _set_up(self) -> None:
        self._failed_probes, self._backoff_s = 0, FIRST_PROBE_S
        if self.state in ("down", "changed"):
            down_s = self._clock.now() - self._since_s
            _log.warning("the judge's server answers again as the same judge, after %.1f s", down_s)
        if self.state != "up":
            self._move("up")
        self.reason = None
        self._schedule(HEARTBEAT_S)

    def _grow(self) -> None:
        self._schedule(self._backoff_s)
        self._backoff_s = min(2 * self._backoff_s, HEARTBEAT_S)

    def _schedule(self, seconds: float) -> None:
        self._due_s = self._clock.now() + seconds
        self._rescheduled.set()

    async def _sleep(self) -> None:
        """Until the next probe, which may be brought forward or put off meanwhile."""
        while (left_s := self._due_s - self._clock.now()) > 0:
            self._rescheduled.clear()
            waits = [
                asyncio.ensure_future(self._clock.sleep(left_s)),
                asyncio.ensure_future(self._rescheduled.wait()),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    def _move(self, to: State) -> None:
        check_transition(self.state, to)
        if self.state in ("up", "doubted", "paused"):
            self._since_s = self._clock.now()
        self.state = to
        if to != "paused":
            self._unpaused.set()


class Changed(Exception):
    """A probe was answered by another judge. The text says in what it differs."""


class Busy(Exception):
    """A probe was told to come back in `pause_s` seconds."""

    def __init__(self, pause_s: float) -> None:
        super().__init__(f"it says to come back in {pause_s:g} s")
        self.pause_s = pause_s


def check_transition(before: State, after: State) -> None:
    """Raises IllegalState for a change of state that the table does not show."""
    if after not in TRANSITIONS[before]:
        raise IllegalState(f"the judge's server cannot go from {before} to {after}")
