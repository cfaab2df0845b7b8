"""The server runs the app with uvicorn: it listens before the judge has loaded, and ends without losing accepted work.

Guarantees: without a teams file it listens on loopback only. What was accepted before a signal is answered, within
`drain_s`; what comes meanwhile is refused with 503, on a connection that ends with the answer.
"""

import asyncio
import gc
import ipaddress
import logging
import math
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import uvicorn

from service.app import create_app
from service.clock import Clock, SystemClock
from service.errors import ConfigurationError
from service.lifecycle import Lifecycle
from service.observability.logging_setup import adopt, configure
from service.scoring.scorer import Scorer
from service.settings import Settings

log = logging.getLogger("rubricd")

# The listener stays this long at least, also with nothing to finish: a balancer that has not asked for readiness since
# still sends work, and a client may send one more request on its connection. An answer with 503 says when to come back;
# a reset connection says nothing.
_LINGER_S = 1.0
# After the drain, the answers still have to be written.
_WRITE_S = 5.0
# An idle connection should be closed by the side that opened it: balancers do so after 60 s, HTTP clients sooner. If
# the server closed it first, a request could meet a connection that was just closed.
_KEEP_ALIVE_S = 75


def check_host(host: str) -> None:
    """Without keys, only this machine may send requests. Raises ConfigurationError for another address."""
    if host != "localhost" and not _is_loopback(host):
        raise ConfigurationError(
            f"`host` is {host}, but without a teams file the service listens on loopback only; "
            "name one with `teams` (`python -m service keys new TEAM` makes keys), or leave `host` at 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def spare_the_collector() -> None:
    """Makes the garbage collector look at new objects only, and less often.

    A request makes thousands of objects and hardly a cycle, beside a million that were loaded and stay. Looking at all
    of them again and again took half the time of a warm request through Redis.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


class _Server(uvicorn.Server):
    """The first signal begins the drain, the second gives the work that is left no more time, and the third ends the
    process at once. The listener closes when the work is done."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle[Scorer], clock: Clock, drain_s: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._clock = clock
        self._drain_s = drain_s
        self._signals = 0
        self.left_behind = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals == 1:
            self._lifecycle.drain()
        else:
            self._lifecycle.cut_short()
        self.should_exit = True
        self.force_exit = self._signals > 2

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        began_s = self._clock.now()
        self._lifecycle.drain()
        await asyncio.gather(self._lifecycle.drained.wait(), asyncio.sleep(_LINGER_S if self._signals else 0.0))
        left_s = max(0.0, began_s + self._drain_s - self._clock.now()) + _WRITE_S
        self.config.timeout_graceful_shutdown = math.ceil(left_s)
        await super().shutdown(sockets)
        if self._lifecycle.loading_cancelled:
            # The thread in which the judge loads cannot be interrupted. A new executor keeps `asyncio.run` from
            # waiting for it, and `serve` ends the process in spite of it.
            self.left_behind = True
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())


def serve(settings: Settings) -> int:
    """Runs until a signal comes. Exit status: 0 after a graceful stop, 1 when the judge could not serve. Raises
    ConfigurationError for settings that make no sense, before anything is loaded."""
    configure(settings.log_format)
    if settings.teams is None:
        check_host(settings.host)
    failures: list[BaseException] = []

    def ready() -> None:
        adopt()
        spare_the_collector()

    def failed(error: BaseException) -> None:
        failures.append(error)
        expected = isinstance(error, ConfigurationError)
        log.critical("rubricd does not start: %s", error, exc_info=None if expected else error)
        server.should_exit = True

    lifecycle, clock = Lifecycle[Scorer](on_ready=ready, on_failed=failed), SystemClock()
    app = create_app(settings, lifecycle=lifecycle, clock=clock)
    listener = socket.create_server((settings.host, settings.port), backlog=2048)
    host, port = listener.getsockname()[:2]
    log.info("listening on http://%s:%d; the playground is at /, the contract at /openapi.json", host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, ws="none", timeout_keep_alive=_KEEP_ALIVE_S
    )
    server = _Server(config, lifecycle, clock, settings.drain_s)

    def too_early_or_late(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):  # before uvicorn takes them over, and after it gives them back
        signal.signal(number, too_early_or_late)
    server.run(sockets=[listener])
    if server.left_behind:
        logging.shutdown()
        os._exit(0)
    return 1 if failures else 0
