"""What the routes serve, while it is there: the judge comes after the start and goes before the end."""

from typing import Literal

from service.clock import Clock
from service.errors import Unavailable
from service.idempotency import IdempotencyStore
from service.observability import Telemetry
from service.scoring.scorer import Scorer
from service.settings import Settings
from service.tenancy.authentication import NoAuthentication, TeamsFileAuthentication
from service.tenancy.metered import MeteredLedger

State = Literal["loading", "ready", "draining", "failed"]


class Served:
    """Set by the lifecycle in app.py, read by the routes. `max_model_len` is the engine's, in tokens."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        telemetry: Telemetry,
        *,
        door: TeamsFileAuthentication | NoAuthentication,
        ledger: MeteredLedger,
        idempotency_store: IdempotencyStore,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.telemetry = telemetry
        self.door = door
        self.ledger = ledger
        self.idempotency_store = idempotency_store
        self.state: State = "loading"
        self.max_model_len = 0
        self._scorer: Scorer | None = None

    def serve(self, scorer: Scorer, max_model_len: int) -> None:
        self._scorer = scorer
        self.max_model_len = max_model_len
        self.state = "ready"

    async def drain(self, grace_s: float) -> None:
        """Not ready from now on; what was accepted has so long to finish. May be called again, with less."""
        self.state = "draining"
        if self._scorer is not None:
            await self._scorer.drain(grace_s)

    @property
    def dead(self) -> bool:
        """Only a restart of the process helps."""
        return self._scorer is not None and self._scorer.dead

    @property
    def why_not_ready(self) -> str | None:
        """None when a request can be judged."""
        if self.state == "ready" and self._scorer is not None:
            return self._scorer.unavailable_reason
        reasons = {"loading": "the judge is loading", "draining": "the service is shutting down"}
        return reasons.get(self.state, "the judge is not working; see the service's log")

    def scorer(self) -> Scorer:
        """Raises Unavailable unless the judge is ready."""
        reason = self.why_not_ready
        if reason is not None or self._scorer is None:
            raise Unavailable(reason or "the judge is loading")
        return self._scorer
