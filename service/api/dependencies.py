"""The dependencies are what every route is given: the lifecycle, and what there is before the judge has loaded."""

from dataclasses import dataclass, field

from service.api.verdict_ledger import VerdictLedger
from service.clock import Clock
from service.idempotency import IdempotencyStore
from service.judges.judges import Judges
from service.lifecycle import Lifecycle
from service.observability import Telemetry
from service.rubric_store.store import Room, RubricStore
from service.settings import ApiSettings, SchedulingSettings
from service.tenancy.authentication import Authentication
from service.tenancy.quota import MeteredLedger
from service.tenancy.usage import UseByTeam


@dataclass(frozen=True, slots=True)
class Dependencies:
    """An app has one of these. The judges that serve come from `lifecycle.judge()`, again for each request."""

    lifecycle: Lifecycle[Judges]
    settings: ApiSettings
    scheduling: SchedulingSettings
    clock: Clock
    telemetry: Telemetry
    authentication: Authentication
    ledger: MeteredLedger
    idempotency_store: IdempotencyStore
    rubric_store: RubricStore
    room: Room
    verdict_ledger: VerdictLedger | None = None
    uses: UseByTeam = field(default_factory=UseByTeam)
