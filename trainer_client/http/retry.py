"""When to ask again, and when to stop. Pure: decides and never waits; the only retries of the system start here.

Always true: a client's retries never exceed `burst` plus `share` of the requests that succeeded, so that an outage sees
`burst` retries of each client, however long it is; a wait is never shorter than the service asked for and never reaches
past the deadline.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from trainer_client.errors import RubricdClientError


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds that only grow, and how to let them pass; a test brings its own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter, within a budget."""

    attempts: int = 4
    """How often one request is made at most; 1 never retries."""
    first_wait_s: float = 0.5
    """Upper end of the first wait's jitter; it doubles with every attempt."""
    longest_wait_s: float = 60.0
    """Upper end of any wait's jitter; a service that asks for more than this is not asked again."""
    share: float = 0.2
    """Retries that a request which succeeds earns for all of them: 0.2 lets one in five be a retry."""
    burst: float = 8.0
    """Retries that may be spent before any are earned, and the most that can be saved up: as many as are under way at
    once by default, so that a short interruption costs nothing. A client that makes 40 requests in an outage adds a
    fifth to them."""

    def __post_init__(self) -> None:
        numbers = (self.first_wait_s, self.longest_wait_s, self.share, self.burst)
        if self.attempts < 1 or not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError("a retry policy needs attempts >= 1 and finite numbers >= 0")

    def wait_s(self, attempt: int, retry_after_s: float | None, rng: random.Random) -> float:
        """Seconds between attempt number `attempt` (from 1) and the next one.

        The jitter comes on top of what the service asked for: clients told the same number do not come back at once.
        """
        ceiling_s = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(attempt - 1, 60))
        return (retry_after_s or 0.0) + rng.uniform(0.0, ceiling_s)


@dataclass(slots=True)
class Retries:
    """One client's retry budget, a token bucket in requests rather than in time."""

    policy: RetryPolicy
    rng: random.Random
    saved: float = field(init=False)

    def __post_init__(self) -> None:
        self.saved = self.policy.burst

    def earn(self) -> None:
        """A request has succeeded; it earns its share of a retry."""
        self.saved = min(self.policy.burst, self.saved + self.policy.share)

    def next_wait_s(self, error: RubricdClientError, attempt: int, left_s: float | None) -> float | None:
        """Seconds to wait before asking again, paid for from the budget; None: the error stands.

        `left_s`: seconds until the deadline, None without one.
        """
        if not error.retryable or attempt >= self.policy.attempts or self.saved < 1.0:
            return None
        if (error.retry_after_s or 0.0) > self.policy.longest_wait_s:
            return None
        wait_s = self.policy.wait_s(attempt, error.retry_after_s, self.rng)
        if left_s is not None and wait_s >= left_s:
            return None
        self.saved -= 1.0
        return wait_s
