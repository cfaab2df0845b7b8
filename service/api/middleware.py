"""The middleware gives every request an id, a limit on its body, a log line, a count and a span. Plain ASGI, outermost.

Guarantees: log line, count and span carry no text of the request. A body over the limit is refused while it streams
in, before it is held. A redirect names a path and no host, so that it stays behind the caller's proxy.
"""

import logging
import re
import time
import uuid
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import problems
from service.api.request_metrics import RequestSummary
from service.errors import BodyTooLarge
from service.judges.hops import HOPS, came_through
from service.lifecycle import Lifecycle
from service.observability import Telemetry
from service.observability.tracing import Trace, Tracing

log = logging.getLogger("rubricd.access")

NOSNIFF = (b"x-content-type-options", b"nosniff")
_REDIRECT = 307
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestTelemetry:
    """Gives each request its id (`scope["state"]["request_id"]`, header `X-Request-Id`) and records it. Of the `routes`
    those that are `judging` are timed. A host that has named the request (`scope["state"]["given_id"]`) is followed.
    Once the `lifecycle` is shutting down a response is the last one on its connection: the caller's next request goes
    to a process that stays. Behind a proxy the service is below `root_path`, which the proxy may take off or not."""

    def __init__(
        self,
        app: ASGIApp,
        telemetry: Telemetry,
        tracing: Tracing,
        routes: Collection[str],
        judging: Collection[str],
        lifecycle: Lifecycle[Any],
        root_path: str = "",
    ) -> None:
        self._app = app
        self._telemetry = telemetry
        self._tracing = tracing
        self._routes = frozenset(routes)
        templated = sorted((route for route in routes if "{" in route), key=len, reverse=True)  # the narrowest first
        self._templates = [(_pattern(route), route) for route in templated]
        self._judging = frozenset(judging)
        self._lifecycle = lifecycle
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        id = state.get("given_id") or uuid.uuid4().hex
        method = scope["method"] if scope["method"] in _METHODS else "other"
        path = scope["path"]
        if path not in self._routes:
            path = path.removeprefix(self._root_path)
        route = path if path in self._routes else self._template_of(path)
        if self._root_path:
            scope = {**scope, "root_path": self._root_path, "path": self._root_path + path}
        state |= {
            "request_id": id,
            "trace": self._tracing.begin(method, route, id, scope["headers"]),
            "summary": RequestSummary(),
        }
        HOPS.set(came_through(scope["headers"]))
        started, status = time.perf_counter(), 499

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", []), (b"x-request-id", id.encode()), NOSNIFF]
                if status == _REDIRECT:
                    headers = [(name, _path_of(value) if name == b"location" else value) for name, value in headers]
                if self._lifecycle.shutting_down:
                    headers.append((b"connection", b"close"))
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            status = 500 if status == 499 else status  # a bug gets its response further out
            raise
        finally:
            self._record(state, method, route, status, time.perf_counter() - started)

    def _template_of(self, path: str) -> str:
        return next((route for pattern, route in self._templates if pattern.fullmatch(path)), "other")

    def _record(self, state: Mapping[str, Any], method: str, route: str, status: int, seconds: float) -> None:
        self._telemetry.count_request(route, status, seconds if route in self._judging else None)
        id, ms = state["request_id"], round(seconds * 1000, 1)
        trace: Trace = state["trace"]
        summary: RequestSummary = state["summary"]
        trace.end(status, summary.team, summary.numbers)
        fields = {"request_id": id, "method": method, "route": route, "status": status, "ms": ms}
        if summary.team is not None:
            fields["team"] = summary.team
        fields |= summary.numbers
        if trace.id is not None:
            fields["trace_id"] = trace.id
        log.info("%s %s %s %d %.1f ms", id, method, route, status, ms, extra=fields)


def _pattern(route: str) -> re.Pattern[str]:
    """A route with places, such as `/v1/rubrics/{name}`, as a pattern of paths."""
    parts = re.split(r"\{\w+\}", route)
    return re.compile("[^/]+".join(map(re.escape, parts)))


def _path_of(location: bytes) -> bytes:
    parts = urlsplit(location.decode("latin-1"))
    return f"{parts.path}?{parts.query}".removesuffix("?").encode("latin-1")


class HeadAsGet:
    """Answers HEAD as GET is answered, without the body. `scope["state"]["head"]` says so to an endless answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        scope.setdefault("state", {})["head"] = True
        await self._app({**scope, "method": "GET"}, receive, without_body)


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
        received, started = 0, False

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise BodyTooLarge("the body is over the limit")
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, limited, watched)
        except BodyTooLarge:
            if started:  # too late for another status
                raise
            await self._refusal(scope)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp:
        detail = f"the body holds more than {self._max_bytes} bytes; send fewer items a request"
        return problems.of_error(BodyTooLarge(detail), scope["state"]["request_id"])
