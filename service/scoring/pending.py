"""A question's answer while it is on its way, and what holds for all questions of a request.

Always true: there is an answer, a reason why there is none, or none yet; never a default.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from service.cache.single_flight import Flight
from service.errors import RequestError, SharedRequestRejected, TimedOut
from service.modes.modes import ModeResult
from service.modes.rating import Norm
from service.observability.tracing import UNTRACED, Trace, Watch
from service.rubrics.judgement import Source
from service.scheduling import DEFAULT_TENANT, Tenant


@dataclass(slots=True)
class Usage:
    """Counted while a request is served. Tokens are those of the judgements this request caused. `shared_hits` are
    those of the `cache_hits` that another process had judged, `awaited` those of the `deduplicated` that one was
    judging."""

    judgements: int = 0
    cache_hits: int = 0
    shared_hits: int = 0
    deduplicated: int = 0
    awaited: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


class Reservation(Protocol):
    """Tokens set aside before the work."""

    def settle(self, used_tokens: int) -> None:
        """The work is over and took so many."""
        ...


@dataclass(slots=True)
class Bill:
    """What was set aside for questions that are judged together, how many of them go on, and what they took."""

    reservation: Reservation | None
    open: int
    watch: Watch | None
    used_tokens: int = 0

    def end(self) -> None:
        self.open -= 1
        if self.open:
            return
        if self.reservation is not None:
            self.reservation.settle(self.used_tokens)
        if self.watch is not None:
            self.watch.end()


Reserve = Callable[[int], Awaitable[Reservation]]
"""Sets tokens aside. Raises QuotaExceeded."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What holds for all questions of one request: `scope` is who may share the answers, `flow` whose work it is,
    `deadline_s` a point on the clock."""

    scope: str = ""
    tenant: Tenant = DEFAULT_TENANT
    deadline_s: float | None = None
    priority: int = 0
    reserve: Reserve | None = None
    trace: Trace = UNTRACED


@dataclass(frozen=True, slots=True)
class Options:
    """What a request chose, and whose it is. `deadline_s` is a point on the clock, `scope` names who may share the
    verdicts, and `reserve` reserves tokens of the team's quota."""

    mode: str = "verdict"
    layout: str = "rubricd"
    votes: int = 1
    aggregation: str = "healthbench"
    soft: bool = False
    threshold: float = 0.5
    min_coverage: float = 1.0
    norm: Norm = "(r-1)/9"
    deadline_s: float | None = None
    scope: str = ""
    tenant: Tenant = DEFAULT_TENANT
    priority: int = 0
    reserve: Reserve | None = None
    trace: Trace = UNTRACED

    @property
    def rates(self) -> bool:
        """One rating for each candidate instead of a verdict for each criterion."""
        return self.mode in ("implicit", "likert")

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.scope, self.tenant, self.deadline_s, self.priority, self.reserve, self.trace)


@dataclass(frozen=True, slots=True)
class Pending:
    """The result of one query: known from memory, or in flight. Call `release` once when nothing waits for it."""

    known: ModeResult | None
    flight: Flight[ModeResult] | None

    @property
    def source(self) -> Source:
        # A flight counts as judged also where it failed: a judgement without a verdict is not from a cache.
        return "cache" if self.flight is None or self.flight.cached else "judge"

    def result(self) -> ModeResult:
        """Raises JudgementError where there is none: TimedOut where the flight goes on, SharedRequestRejected where the
        request that began it was refused."""
        if self.known is not None:
            return self.known
        if self.flight is None or not self.flight.future.done():
            raise TimedOut("the deadline passed before the judge answered")
        try:
            return self.flight.future.result()
        except RequestError as error:
            reason = f"another request for the same judgement was refused: {error}; send this one again"
            raise SharedRequestRejected(reason) from None

    def release(self) -> None:
        if self.flight is not None:
            self.flight.release()
