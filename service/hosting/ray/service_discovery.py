"""Service discovery: each replica serves its metrics on a port of its own and registers it, for Prometheus to find.

Through the proxy a scrape would reach one replica, by chance.

Guarantees: the port serves `/metrics` and nothing else; a replica that is gone is forgotten within `_FORGET_S`.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from service.clock import Clock, SystemClock

log = logging.getLogger("rubricd.ray")

_REGISTER_EVERY_S = 5.0
_FORGET_S = 3 * _REGISTER_EVERY_S


class TargetRegistry:
    """The addresses of metrics, `host:port` by replica. It is one actor, and all replicas of a deployment register with
    it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._seen: dict[str, tuple[str, float]] = {}

    def register(self, replica: str, where: str) -> None:
        self._seen[replica] = (where, self._clock.now())

    def targets(self) -> dict[str, str]:
        since_s = self._clock.now() - _FORGET_S
        self._seen = {replica: seen for replica, seen in self._seen.items() if seen[1] >= since_s}
        return {replica: where for replica, (where, _) in self._seen.items()}


@asynccontextmanager
async def serve_metrics(app: ASGIApp, host: str, register: Callable[[str], Awaitable[None]]) -> AsyncIterator[None]:
    """While inside, `app`'s metrics are served at a free port of `host`, and `register` is called with the address
    again and again."""
    listener = socket.create_server((host, 0))
    where = f"{host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        _only_metrics(app), log_config=None, access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="metrics")
    registering = asyncio.create_task(_keep_registering(where, register), name="registering")
    try:
        yield
    finally:
        registering.cancel()
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await asyncio.wait({serving, registering})


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for Ray."""
        yield


def _only_metrics(app: ASGIApp) -> ASGIApp:
    async def only(scope: Scope, receive: Receive, send: Send) -> None:
        served = app if scope["path"] == "/metrics" else PlainTextResponse("only /metrics is here\n", status_code=404)
        await served(scope, receive, send)

    return only


async def _keep_registering(where: str, register: Callable[[str], Awaitable[None]]) -> None:
    while True:
        try:
            await register(where)
        except Exception as error:  # the registry may be unreachable for a while; Ray raises errors of many kinds then
            log.warning("could not register the address of the metrics: %s", type(error).__name__)
        await asyncio.sleep(_REGISTER_EVERY_S)
