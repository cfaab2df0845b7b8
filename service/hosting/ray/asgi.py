"""The replica's ASGI app wraps the service's: it agrees with Ray's proxy on an id, and lists replicas for Prometheus.

Guarantees: everything else reaches the service's app unchanged, and its answers leave unchanged.
"""

import re
from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TARGETS_ROUTE = "/metrics/targets"
_ID = b"x-request-id"
_UUID = re.compile(rb"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")

Targets = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns the addresses of all replicas' metrics, `host:port` by the replica's name."""


class ReplicaApp:
    def __init__(self, app: ASGIApp, targets: Targets) -> None:
        self._app = app
        self._targets = targets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == TARGETS_ROUTE:
            await _service_discovery(await self._targets())(scope, receive, send)
        else:
            await self._identified(scope, receive, send)

    async def _identified(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The proxy gives every request an id and adds it to the answer. The app takes over an id that is a UUID, and
        leaves it out of its own answer."""
        given = dict(scope["headers"]).get(_ID, b"")
        if _UUID.fullmatch(given) is None:
            await self._app(scope, receive, send)
            return

        async def without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [pair for pair in message.get("headers", []) if pair[0].lower() != _ID]
                message = {**message, "headers": headers}
            await send(message)

        scope.setdefault("state", {})["given_id"] = given.decode()
        await self._app(scope, receive, without_id)


def _service_discovery(targets: Mapping[str, str]) -> JSONResponse:
    """The form that Prometheus reads: https://prometheus.io/docs/prometheus/latest/http_sd/"""
    return JSONResponse([{"targets": [where], "labels": {"replica": name}} for name, where in sorted(targets.items())])
