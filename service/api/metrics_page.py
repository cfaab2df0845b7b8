"""Serves `/metrics` for Prometheus: as a route of the service, or as an app of its own on another port.

Guarantees: where a key is set, the page is shown to who sends it, and compared in constant time. As an app it serves
also what it was given, which asks it who may see that.
"""

import hmac
import uuid
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.api import problems
from service.errors import Unauthorized
from service.observability import Telemetry


class MetricsPage:
    def __init__(self, telemetry: Telemetry, key: str | None) -> None:
        self._telemetry = telemetry
        self._expected = None if key is None else f"Bearer {key}".encode()
        self._app = Starlette(routes=[Route("/metrics", self.metrics, methods=["GET"])])

    def serve(self, path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        """Serves this, too, where it is an app of its own."""
        self._app.routes.append(Route(path, endpoint, methods=["GET"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def metrics(self, request: Request) -> Response:
        """Return the metrics in Prometheus' text format."""
        if (refused := self.refusal(request)) is not None:
            return refused
        return Response(self._telemetry.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def refusal(self, request: Request) -> Response | None:
        """None where the request may see metrics."""
        given = request.headers.get("authorization", "").encode()
        if self._expected is None or hmac.compare_digest(given, self._expected):
            return None
        id = getattr(request.state, "request_id", None) or uuid.uuid4().hex
        return problems.of_error(Unauthorized("send `metrics_key` as a bearer key"), id)
