"""Decides when a call is made again, after which pause, and when its error stands. The client's retries are made here.

A call either gives up after a few retries, or waits until its deadline for a judge that is not available.

It is written by hand: retry libraries bound the attempts of one call, and an outage multiplies them by the calls; here
one budget bounds the client as a whole.

Guarantees: a pause is never shorter than the service asked for and never reaches past the deadline. Of calls that give
up, retries never exceed `burst` plus `share` of the requests that succeeded, but for those that wait out a limited rate
(`limited_s`). Of calls that wait, one at a time tries again while no judge answers, after pauses that grow up to
`longest_wait_s`, however many calls wait. An error that waiting cannot change stands at once. A call whose connection
broke while the judge had it is made once more and not oftener, because it may be what ends the judge. Where another
address of the service may be asked there is no pause. A call that waits is made again at least 15 s after a proxy's
page that may mean such a loss, if it has that long.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from trainer_client import wire
from trainer_client.errors import (
    AnswerLost,
    ConnectionBroken,
    ContractError,
    DeadlineExceeded,
    Forbidden,
    Incomplete,
    JudgeMismatch,
    LostTwice,
    QuotaExceeded,
    Refused,
    RubricdClientError,
    StillRunning,
    Unauthorized,
    Unavailable,
)

log = logging.getLogger(__name__)
_T = TypeVar("_T")

HOPELESS = (Unauthorized, Forbidden, JudgeMismatch, ContractError)
"""After these no response is judged until a person changes something: waiting for the judge is of no use."""
TRANSIENT: frozenset[wire.CriterionStatus] = frozenset(("timeout", "overloaded", "engine_error", "cancelled"))
_LOST = (ConnectionBroken, AnswerLost)
# A proxy's page with such a status may mean that a replica ended with the request, or that there is none.
_PERHAPS_LOST = frozenset((500, 502, 504, 520, 524))
# A call that waits is not made again sooner after such a page: until a proxy has noticed that a replica has ended it
# sends requests there, and a second page about the same end would count as a second loss.
_UNTIL_NOTICED_S = 15.0
_SAID_AT = 2
"""The number of the attempt in a row, of those that find out if a judge is back, from which an outage is logged."""
# A call that waits makes its last attempt this long before its deadline, so that there is time to judge: the smaller of
# seconds and a share of the whole wait.
_LAST_ATTEMPT_S = 10.0
_LAST_ATTEMPT_SHARE = 0.1
# Lower end of the jitter of calls that wait, as a share of its upper end: they are few, so that they need less of it
# than a crowd, and a short pause in a long outage would be one request for nothing.
_LEAST_PAUSE = 0.75


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds that only grow, and a way to let them pass; a test brings its own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def left_s(self, deadline: float | None) -> float | None:
        """Seconds until the deadline, not below 0; None without one."""
        return None if deadline is None else max(0.0, deadline - self.now())


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter, within a budget."""

    attempts: int = 4
    """Number of times that one request is made at most; 1 never retries. A call that waits for the judge has no such
    limit."""
    first_wait_s: float = 0.5
    """Upper end of the first pause's jitter; it doubles with every attempt."""
    longest_wait_s: float = 60.0
    """Upper end of any pause's jitter. A call that gives up does so where the service asks for a longer pause."""
    share: float = 0.2
    """Retries that a request which succeeds earns for all of them: 0.2 lets one in five be a retry."""
    burst: float = 8.0
    """Retries that may be spent before any are earned, and the most that can be saved up: as many as are under way at
    once by default, so that a short interruption costs nothing. A client that makes 40 requests in an outage adds a
    fifth to them."""
    limited_s: float = 0.0
    """A call that gives up waits out a limit on its rate (429) for so many seconds, apart from `attempts` and the
    budget: whoever limits a rate lives. 0: a 429 counts as any other error."""

    def __post_init__(self) -> None:
        numbers = (self.first_wait_s, self.longest_wait_s, self.share, self.burst, self.limited_s)
        if self.attempts < 1 or not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError("a retry policy needs attempts >= 1 and finite numbers >= 0")

    def wait_s(self, attempt: int, retry_after_s: float | None, rng: random.Random, *, least: float = 0.0) -> float:
        """Seconds between attempt number `attempt` (from 1) and the next one. `least` is the lower end of the jitter,
        as a share of its upper end.

        The jitter is added to the pause that the service asked for: clients that got the same number do not come back
        at once.
        """
        ceiling_s = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(attempt - 1, 60))
        return (retry_after_s or 0.0) + rng.uniform(least * ceiling_s, ceiling_s)


def may_be_judged_later(result: wire.Result) -> bool:
    """Returns whether a result has no score and lacks verdicts only for now: the same request may bring them later."""
    return result.score is None and any(criterion.status in TRANSIENT for criterion in result.criteria)


class Retries:
    """One client's retries, in all its event loops: its budget, a token bucket in requests rather than in time, and
    whether its judge is unavailable."""

    def __init__(self, policy: RetryPolicy, rng: random.Random, clock: Clock) -> None:
        self.saved = policy.burst
        self._answers = 0
        self._policy = policy
        self._rng = rng
        self._clock = clock
        self._open_at = -math.inf
        self._away = False
        self._failed_probes = 0

    async def run(
        self,
        once: Callable[[], Awaitable[_T]],
        place: Callable[[], AbstractAsyncContextManager[None]],
        deadline: float | None,
        *,
        line: asyncio.Lock | None,
    ) -> _T:
        """Returns the result of `once`, which makes one attempt while it holds a `place`. With a `line`, the one of its
        event loop, it waits until the deadline for a judge that is not available. Raises the last attempt's
        RubricdClientError."""
        if line is None:
            return await self._within_budget(once, place, deadline)
        return await self._until_answered(once, place, deadline, line)

    async def _within_budget(
        self,
        once: Callable[[], Awaitable[_T]],
        place: Callable[[], AbstractAsyncContextManager[None]],
        deadline: float | None,
    ) -> _T:
        attempts, limited, losses = 0, 0, _Losses()
        limited_until = min(self._clock.now() + self._policy.limited_s, math.inf if deadline is None else deadline)
        while True:
            try:
                async with place():
                    attempts += 1
                    answer = await once()
                self._succeeded()
                return answer
            except RubricdClientError as error:
                error.attempts = attempts
                losses.check(error, None)
                self._remember_pause(error)
                wait_s = self._limited_wait_s(error, limited + 1, limited_until)
                if wait_s is not None:
                    limited += 1
                else:
                    wait_s = self.next_wait_s(error, attempts - limited, self._clock.left_s(deadline))
                if wait_s is None:
                    raise
            await self._clock.sleep(wait_s)

    async def _until_answered(
        self,
        once: Callable[[], Awaitable[_T]],
        place: Callable[[], AbstractAsyncContextManager[None]],
        deadline: float | None,
        line: asyncio.Lock,
    ) -> _T:
        wait = _Wait(deadline, self._clock.left_s(deadline), line)
        while True:
            async with self._turn(wait) as probing:
                try:
                    async with place():
                        wait.attempts += 1
                        answer = await once()
                    self._succeeded()
                    return answer
                except RubricdClientError as error:
                    error.attempts = wait.attempts
                    if isinstance(error, DeadlineExceeded) and wait.error is not None:
                        # The error that the call waited for tells more than that its time is over.
                        raise wait.error from None
                    if not error.retryable:
                        if isinstance(error, Refused):
                            self._answered()  # Only a judge that is back refuses so: the others need not wait.
                        raise
                    wait.perhaps_lost = wait.losses.check(error, self._answers) and not error.elsewhere
                    self._failed(error, probing)
                    wait.error = error

    @asynccontextmanager
    async def _turn(self, wait: "_Wait") -> AsyncIterator[bool]:
        """Holds while the next attempt of a waiting call is made. Yields whether it is the attempt that finds out if a
        judge is back. Raises the call's last error where no time is left."""
        if wait.perhaps_lost:
            await self._pause(wait, wait.attempts, probing=False, least_s=_UNTIL_NOTICED_S)
        if self._away:
            # Also before a call's first attempt: it would tell nothing that the call at the head of the line does not.
            await self._join_line(wait)
            try:
                if self._away:
                    if not wait.perhaps_lost:  # else it has paused already, perhaps up to its last attempt
                        await self._pause(wait, max(wait.attempts, self._failed_probes + 1), probing=True)
                    yield True
                    return
            finally:
                wait.line.release()
        if wait.error is not None and not wait.error.elsewhere and not wait.perhaps_lost:
            # A judge answers, but this call failed: its own pauses grow, and other calls are not held up.
            await self._pause(wait, wait.attempts, probing=False)
        yield False

    async def _join_line(self, wait: "_Wait") -> None:
        try:
            async with asyncio.timeout(self._clock.left_s(wait.deadline)):
                await wait.line.acquire()
        except TimeoutError:
            raise wait.given_up() from None

    async def _pause(self, wait: "_Wait", number: int, *, probing: bool, least_s: float = 0.0) -> None:
        """The pause before the next attempt. The last one is cut short, so that the judge may be back just in time."""
        asked_s = (wait.error.retry_after_s if wait.error is not None else None) or 0.0
        wait_s = max(least_s, self._policy.wait_s(number, asked_s, self._rng, least=_LEAST_PAUSE))
        left_s = self._clock.left_s(wait.deadline)
        if left_s is not None and wait_s >= left_s - (wait.reserve_s if probing else 0.0):
            wait_s = left_s - wait.reserve_s
            if wait_s <= asked_s:
                raise wait.given_up()
        await self._clock.sleep(wait_s)

    async def opening(self, deadline: float | None) -> None:
        """Waits out a pause that the service asked any call for. Raises DeadlineExceeded."""
        while (wait_s := self._open_at - self._clock.now()) > 0:
            if deadline is not None and self._open_at >= deadline:
                raise DeadlineExceeded(f"the service asks for a pause of {wait_s:.1f} s, past the deadline")
            await self._clock.sleep(wait_s)

    def next_wait_s(self, error: RubricdClientError, attempt: int, left_s: float | None) -> float | None:
        """Seconds to wait before a call that gives up is made again, paid for from the budget; None: the error stands.

        `left_s`: seconds until the deadline, None without one.
        """
        if not error.retryable or attempt >= self._policy.attempts or self.saved < 1.0:
            return None
        if error.elsewhere:  # The pause is for the address that failed; the retry is paid for as any other.
            self.saved -= 1.0
            return 0.0
        if (error.retry_after_s or 0.0) > self._policy.longest_wait_s:
            return None
        wait_s = self._policy.wait_s(attempt, error.retry_after_s, self._rng)
        if left_s is not None and wait_s >= left_s:
            return None
        self.saved -= 1.0
        return wait_s

    def _limited_wait_s(self, error: RubricdClientError, number: int, until: float) -> float | None:
        """Seconds to wait after refusal number `number` by a limit on the rate; None: it counts as any error."""
        if not isinstance(error, QuotaExceeded) or not error.retryable:
            return None
        wait_s = self._policy.wait_s(number, error.retry_after_s, self._rng)
        return wait_s if self._clock.now() + wait_s < until else None

    def earn(self) -> None:
        """A request has succeeded; it earns its share of a retry."""
        self.saved = min(self._policy.burst, self.saved + self._policy.share)

    def _succeeded(self) -> None:
        self._answers += 1
        self.earn()
        self._answered()

    def _answered(self) -> None:
        """A judge answers: calls that wait in the line may go on."""
        if self._failed_probes >= _SAID_AT:
            log.warning("a judge answers again")
        self._away, self._failed_probes = False, 0

    def _failed(self, error: RubricdClientError, probing: bool) -> None:
        """Learns from a failed attempt of a waiting call."""
        if error.elsewhere:
            return
        self._remember_pause(error)
        if isinstance(error, Incomplete | StillRunning):
            self._answered()
            return
        self._away = True
        # Calls that failed together when the judge went away are one failure, not several.
        self._failed_probes += probing
        if probing and self._failed_probes == _SAID_AT:  # once, however long it lasts
            log.warning("no judge answers; calls wait for one: %s", error)

    def _remember_pause(self, error: RubricdClientError) -> None:
        """A pause that an overloaded service asks of one call is kept by all; a very long one by that call alone."""
        pause_s = error.retry_after_s or 0.0
        asks_all = error.retryable and not error.elsewhere and not isinstance(error, StillRunning)
        if asks_all and pause_s <= self._policy.longest_wait_s:
            self._open_at = max(self._open_at, self._clock.now() + pause_s)


class _Wait:
    """One call that waits for the judge: its deadline, the line that it stands in, its attempts, and the error of the
    last one."""

    def __init__(self, deadline: float | None, whole_s: float | None, line: asyncio.Lock) -> None:
        self.deadline = deadline
        self.line = line
        self.reserve_s = 0.0 if whole_s is None else min(_LAST_ATTEMPT_S, _LAST_ATTEMPT_SHARE * whole_s)
        self.attempts = 0
        self.losses = _Losses()
        self.perhaps_lost = False
        self.error: RubricdClientError | None = None

    def given_up(self) -> RubricdClientError:
        return self.error or DeadlineExceeded("no judge was available before the deadline")


class _Losses:
    """How often one call's answer was lost together with the connection to the judge that had it."""

    def __init__(self) -> None:
        self._lost = 0
        self._answers: int | None = None

    def check(self, error: RubricdClientError, answers: int | None) -> bool:
        """Returns whether a proxy's page may mean a loss. Raises LostTwice the second time. `answers` counts what the
        client was answered to other calls, None for a call that does not wait out an outage: a proxy's page is no loss
        while nobody is answered."""
        if isinstance(error, ConnectionBroken) and error.began:
            return False  # every text had been read by then, and the judge lived
        if isinstance(error, Incomplete):
            self._lost = 0  # an answer came, so that the request does not end judges
            return False
        page = isinstance(error, Unavailable) and error.status in _PERHAPS_LOST
        if not page and not isinstance(error, _LOST):
            return False
        if page:
            before, self._answers = self._answers, answers
            if answers is not None and before == answers:
                return False
        self._lost += 1
        if self._lost > 1:
            lost = LostTwice(f"a connection broke twice while the judge had this request, the last time with: {error}")
            lost.attempts = error.attempts
            raise lost from None
        return page
