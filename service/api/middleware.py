"""Around every request: an id, a limit on the body, one log line, one count. Plain ASGI, outermost.

Always true: the log line and the count carry no text of the request; a body over the limit is refused while it
streams in, before it is held.
"""

import logging
import time
import uuid
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import problems
from service.errors import BodyTooLarge
from service.telemetry import Telemetry

log = logging.getLogger("rubricd.access")


class Requests:
    """Gives each request its id (`scope["state"]["request_id"]`, header `X-Request-Id`), and accounts for it."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, routes: Collection[str]) -> None:
        self._app = app
        self._telemetry = telemetry
        self._routes = frozenset(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = id
        started, status = time.perf_counter(), 499

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), (b"x-request-id", id.encode())]}
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            route = scope["path"] if scope["path"] in self._routes else "other"
            self._telemetry.count_request(route, status, seconds)
            log.info("%s %s %s %d %.1f ms", id, scope["method"], route, status, seconds * 1000)


class BodyLimit:
    """Refuses a body of more than `max_bytes` by its declared length, or as soon as that much has come."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await self._refusal(scope)(scope, receive, send)
            return
        received, answered = 0, False

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise BodyTooLarge("the body is over the limit")
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, limited, noted)
        except BodyTooLarge:
            if answered:
                raise
            await self._refusal(scope)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp:
        detail = f"the body holds more than {self._max_bytes} bytes; send fewer items a request"
        return problems.of_error(BodyTooLarge(detail), scope["state"]["request_id"])
