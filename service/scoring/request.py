"""A scoring request chose options, has a context that holds for all of its queries, and is counted in a usage."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from service.modes.rating import Norm
from service.modes.served_modes import Batch, Way
from service.observability.tracing import UNTRACED, Trace
from service.rubrics.aggregation import Unjudged
from service.scheduling import DEFAULT_TENANT, Tenant
from trainer_client.formulas import HEALTHBENCH, Aggregation


@dataclass(slots=True)
class Usage:
    """Counted while a request is served. Tokens are those of the judgements this request caused, and seconds: those of
    rendering, and the most that one of its queries was in the queue and at the engine. `shared_hits` are
    those of the `cache_hits` that another process had judged, `awaited` those of the `deduplicated` that another
    process was judging. `dollars` are what servers reported for `priced` answers; of what was asked, `unpriced` has no
    price, or none yet."""

    judgements: int = 0
    cache_hits: int = 0
    shared_hits: int = 0
    deduplicated: int = 0
    awaited: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    priced: int = 0
    unpriced: int = 0
    render_s: float = 0.0
    queue_s: float = 0.0
    engine_s: float = 0.0

    @property
    def cost(self) -> float | None:
        """In US dollars. None where nothing has a price, and where something has none: a part would look like the
        whole."""
        return self.dollars if self.priced and not self.unpriced else None

    def pay(self, dollars: float | None) -> None:
        """An answer to what was asked took this; None where nobody says."""
        if dollars is not None:
            self.unpriced -= 1
            self.priced += 1
            self.dollars += dollars


class Reservation(Protocol):
    """Tokens of a quota, reserved before the work."""

    def settle(self, used_tokens: int) -> None:
        """The work is over and took so many."""
        ...


Reserve = Callable[[int], Awaitable[Reservation]]
"""Reserves tokens. Raises QuotaExceeded."""


class RuleMeter(Protocol):
    """What a request's rule checks are charged to."""

    async def admit(self) -> None:
        """Raises QuotaExceeded where the team has used its rule seconds."""
        ...

    def charge(self, seconds: float) -> bool:
        """Charges what a check took. Returns whether the team may have more."""
        ...


CacheUse = Literal["use", "refresh", "bypass"]
"""`refresh` judges again what is known and keeps the new verdicts; `bypass` keeps none, and judges equal queries each
by itself."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """These facts hold for all queries of one request. `scope` names who may share the results, `tenant` whose queue
    they wait in; `deadline_s` is a point on the clock; `priority` is for engines with a queue of their own."""

    scope: str = ""
    tenant: Tenant = DEFAULT_TENANT
    deadline_s: float | None = None
    priority: int = 0
    reserve: Reserve | None = None
    rule_meter: RuleMeter | None = None
    trace: Trace = UNTRACED
    cache: CacheUse = "use"


@dataclass(frozen=True, slots=True)
class Options(RequestContext):
    """A request's options, with its context."""

    mode: str = "verdict"
    layout: str = "rubricd"
    prompt: str | None = None
    batch: Batch | None = None
    consistency: Literal[1, 2] = 1
    votes: int = 1
    aggregation: Aggregation = HEALTHBENCH
    soft: bool = False
    threshold: float = 0.5
    min_coverage: float = 1.0
    unjudged: Unjudged | None = None
    debias: bool = False
    norm: Norm = "(r-1)/9"

    @property
    def way(self) -> Way:
        """In which the judge is asked; its default prompt where the prompt is None."""
        return Way(self.mode, self.layout, self.prompt, self.batch)
