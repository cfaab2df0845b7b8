"""Around every request: an id, a limit on the body, one log line, one count, one span. Plain ASGI, outermost.

Always true: log line, count and span carry no text of the request; a body over the limit is refused while it
streams in, before it is held.
"""

import logging
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import problems
from service.api.answered import Answered
from service.errors import BodyTooLarge
from service.observability import Telemetry
from service.observability.tracing import Trace, Tracing

log = logging.getLogger("rubricd.access")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Requests:
    """Gives each request its id (`scope["state"]["request_id"]`, header `X-Request-Id`), and accounts for it. Of the
    `routes` those that are `judging` are timed. A host that has named the request (`scope["state"]["given_id"]`) is
    followed."""

    def __init__(
        self, app: ASGIApp, telemetry: Telemetry, tracing: Tracing, routes: Collection[str], judging: Collection[str]
    ) -> None:
        self._app = app
        self._telemetry = telemetry
        self._tracing = tracing
        self._routes = frozenset(routes)
        self._judging = frozenset(judging)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        id = state.get("given_id") or uuid.uuid4().hex
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = scope["path"] if scope["path"] in self._routes else "other"
        state |= {
            "request_id": id,
            "trace": self._tracing.begin(method, route, id, scope["headers"]),
            "answered": Answered(),
        }
        started, status = time.perf_counter(), 499

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), (b"x-request-id", id.encode())]}
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            status = 500 if status == 499 else status  # a bug is answered further out
            raise
        finally:
            self._account(state, method, route, status, time.perf_counter() - started)

    def _account(self, state: Mapping[str, Any], method: str, route: str, status: int, seconds: float) -> None:
        self._telemetry.count_request(route, status, seconds if route in self._judging else None)
        id, ms = state["request_id"], round(seconds * 1000, 1)
        trace: Trace = state["trace"]
        answered: Answered = state["answered"]
        trace.end(status, answered.team, answered.numbers)
        told = {"request_id": id, "method": method, "route": route, "status": status, "ms": ms}
        told |= answered.fields() | ({} if trace.id is None else {"trace_id": trace.id})
        log.info("%s %s %s %d %.1f ms", id, method, route, status, ms, extra=told)


class Closing:
    """Once `closing` is true an answer is the last one on its connection: the caller's next request goes to a process
    that stays."""

    def __init__(self, app: ASGIApp, closing: Callable[[], bool]) -> None:
        self._app = app
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def last(message: Message) -> None:
            if message["type"] == "http.response.start" and self._closing():
                message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, last)


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
