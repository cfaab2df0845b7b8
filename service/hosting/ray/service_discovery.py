"""Each replica's metrics on a port of its own: through the proxy a scrape would reach one replica, by chance.

Always true: the port serves `/metrics` and nothing else; a replica that is gone is forgotten within `_FORGET_S`.
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

_TELL_EVERY_S = 5.0
_FORGET_S = 3 * _TELL_EVERY_S


class Board:
    """Where metrics are read, `host:port` by replica; one actor that all replicas of a deployment tell."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._told: dict[str, tuple[str, float]] = {}

    def tell(self, replica: str, where: str) -> None:
        self._told[replica] = (where, self._clock.now())

    def all(self) -> dict[str, str]:
        since_s = self._clock.now() - _FORGET_S
        self._told = {replica: told for replica, told in self._told.items() if told[1] >= since_s}
        return {replica: where for replica, (where, _) in self._told.items()}


@asynccontextmanager
async def scraped(app: ASGIApp, host: str, tell: Callable[[str], Awaitable[None]]) -> AsyncIterator[None]:
    """While inside, `app`'s metrics are served at a free port of `host`, and `tell` hears where again and again."""
    listener = socket.create_server((host, 0))
    where = f"{host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        _only_metrics(app), log_config=None, access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="metrics")
    telling = asyncio.create_task(_keep_telling(where, tell), name="telling")
    try:
        yield
    finally:
        telling.cancel()
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await asyncio.wait({serving, telling})


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are Ray's."""
        yield


def _only_metrics(app: ASGIApp) -> ASGIApp:
    async def only(scope: Scope, receive: Receive, send: Send) -> None:
        served = app if scope["path"] == "/metrics" else PlainTextResponse("only /metrics is here\n", status_code=404)
        await served(scope, receive, send)

    return only


async def _keep_telling(where: str, tell: Callable[[str], Awaitable[None]]) -> None:
    while True:
        try:
            await tell(where)
        except Exception as error:  # the board may be away for a while, whatever Ray calls that
            log.warning("could not tell where metrics are read: %s", type(error).__name__)
        await asyncio.sleep(_TELL_EVERY_S)
