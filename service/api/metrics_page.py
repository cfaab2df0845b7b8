"""Serves `/metrics` for Prometheus: as a route of the service, or as an app of its own on another port.

Guarantees: where a key is set, the page is shown to who sends it, and compared in constant time.
"""

import hmac
import uuid

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.api import problems
from service.errors import Unauthorized
from service.observability import Telemetry


class MetricsPage:
    """As an app it serves `/metrics` and nothing else."""

    def __init__(self, telemetry: Telemetry, key: str | None) -> None:
        self._telemetry = telemetry
        self._expected = None if key is None else f"Bearer {key}".encode()
        self._app = Starlette(routes=[Route("/metrics", self.metrics, methods=["GET"])])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def metrics(self, request: Request) -> Response:
        """Return the metrics in Prometheus' text format."""
        given = request.headers.get("authorization", "").encode()
        if self._expected is not None and not hmac.compare_digest(given, self._expected):
            id = getattr(request.state, "request_id", None) or uuid.uuid4().hex
            return problems.of_error(Unauthorized("send `metrics_key` as a bearer key"), id)
        return Response(self._telemetry.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
