"""What a request chose, and whose it is."""

from dataclasses import dataclass

from service.modes.rating import Norm
from service.observability.tracing import UNTRACED, Trace
from service.scheduling import DEFAULT_TENANT, Tenant
from service.scoring.pending import Reserve, Waiting


@dataclass(frozen=True, slots=True)
class Options:
    """`deadline_s` is a point on the clock; `scope` is who may share the
    verdicts; `reserve` sets judge tokens aside."""

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
        """One rating a candidate instead of a verdict a criterion."""
        return self.mode in ("implicit", "likert")

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.scope, self.tenant, self.deadline_s, self.priority, self.reserve, self.trace)
