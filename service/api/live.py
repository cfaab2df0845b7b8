"""Serves `/v1/live`: what this process does now, from its own metrics, as server-sent events for the page `/live`.

Guarantees: nothing is read where nobody listens, and several listeners share a reading. There are at most
`MOST_LISTENERS`. Who may not see `/metrics` may not see this. A stream ends when the service begins to shut down.
"""

import json
import os
import socket
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.api import problems
from service.api.metrics_page import MetricsPage
from service.api.score import LineResponse
from service.clock import Clock
from service.errors import Overloaded
from service.lifecycle import Lifecycle
from service.observability import Telemetry

LIVE_ROUTE = "/v1/live"
EVERY_S = 1.0
MOST_LISTENERS = 32
_FRESH_S = 0.9 * EVERY_S
SHOWN = frozenset(
    {
        "rubricd_batch_seconds",
        "rubricd_batch_tokens",
        "rubricd_cache_entries",
        "rubricd_cache_hits",
        "rubricd_cache_misses",
        "rubricd_canary_drift",
        "rubricd_canary_failures",
        "rubricd_engine_failed_batches",
        "rubricd_engine_restarts",
        "rubricd_generated_tokens",
        "rubricd_in_flight_tokens",
        "rubricd_items",
        "rubricd_judge_info",
        "rubricd_judge_proven",
        "rubricd_judgements",
        "rubricd_label_mass",
        "rubricd_open_connections",
        "rubricd_prompt_tokens",
        "rubricd_queue_limit_tokens",
        "rubricd_redis_up",
        "rubricd_refusals",
        "rubricd_team_queued_tokens",
        "rubricd_team_tokens",
    }
)
"""The metrics that the page draws."""


class LiveRoute:
    def __init__(self, page: MetricsPage, telemetry: Telemetry, lifecycle: Lifecycle[Any], clock: Clock) -> None:
        self._page = page
        self._telemetry = telemetry
        self._lifecycle = lifecycle
        self._clock = clock
        self._listeners = 0
        self._event, self._read_at_s = b"", float("-inf")
        # A process number is not enough: in containers it is often the same in each.
        self._process = {"instance": uuid.uuid4().hex, "process": os.getpid(), "host": socket.gethostname()}

    async def live(self, request: Request) -> Response:
        """Stream what this process does now, once a second, as server-sent events."""
        refused = self._page.refusal(request)
        if refused is None and self._listeners >= MOST_LISTENERS:
            detail = f"{self._listeners} pages listen already; close one"
            refused = problems.of_error(Overloaded(detail, 10.0), request_id(request))
        if refused is not None:
            return refused
        once = request.method == "HEAD" or bool(request.scope.get("state", {}).get("head"))
        self._listeners += 1

        async def ended() -> None:
            self._listeners -= 1

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return LineResponse(self._events(once), "text/event-stream", ended, headers)

    async def _events(self, once: bool) -> AsyncGenerator[bytes, None]:
        yield self._now()
        while not (once or self._lifecycle.shutting_down):
            await self._clock.sleep(EVERY_S)
            yield self._now()

    def _now(self) -> bytes:
        """The event, read again where it is older than a moment."""
        now_s = self._clock.now()
        if now_s - self._read_at_s >= _FRESH_S:
            self._event, self._read_at_s = b"data: %s\n\n" % json.dumps(self._reading()).encode(), now_s
        return self._event

    def _reading(self) -> dict[str, Any]:
        return {
            "at_s": self._clock.wall(),
            **self._process,
            "state": self._lifecycle.state,
            "why": self._lifecycle.why_not_ready,
            "metrics": self._telemetry.samples(SHOWN),
        }


def request_id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))
