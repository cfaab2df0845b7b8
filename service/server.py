"""The server runs the app with uvicorn: it listens before the judge has loaded, and ends without losing accepted work.

Guarantees: without a teams file it listens on loopback only. What was accepted before a signal is answered, within
`drain_s`; what comes meanwhile is refused with 503, on a connection that ends with the answer.
"""

import asyncio
import gc
import logging
import math
import os
import signal
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from service.app import create_app, metrics_of, telemetry_of
from service.clock import Clock, SystemClock
from service.errors import ConfigurationError
from service.http.connection_table import ConnectionTable
from service.http.limits import connection_limits, raise_descriptor_limit
from service.http.listener import is_loopback, open_listener, url_of
from service.http.server import HttpServer
from service.judges.judges import Judges
from service.lifecycle import Lifecycle
from service.observability.logging_setup import adopt, configure
from service.settings import Settings, unknown_variables

log = logging.getLogger("rubricd")

# The listener stays this long at least, also with nothing to finish: a balancer that has not asked for readiness since
# still sends work, and a client may send one more request on its connection. An answer with 503 says when to come back;
# a reset connection says nothing.
_LINGER_S = 1.0
# After the drain, the answers still have to be written.
_WRITE_S = 5.0


def check_host(host: str, setting: str = "host") -> None:
    """Without keys, only this machine may send requests. Raises ConfigurationError for another address."""
    if not is_loopback(host):
        raise ConfigurationError(
            f"`{setting}` is {host}, but without a teams file the service listens on loopback only; "
            f"name one with `teams` (`python -m service keys new TEAM` makes keys), or leave `{setting}` at 127.0.0.1"
        )


def spare_the_collector() -> None:
    """Makes the garbage collector look at new objects only, and less often.

    A request makes thousands of objects and hardly a cycle, beside a million that were loaded and stay. Looking at all
    of them again and again took half the time of a warm request through Redis.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def next_steps(url: str, settings: Settings) -> str:
    """What somebody who has just started the service may try, with an address that this machine reaches it by."""
    for everywhere, here in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        url = url.replace(everywhere, here)
    bundled = (settings.judges, settings.judge) == (None, None) and settings.engine in ("auto", "local", "vllm")
    judge = "the bundled judge is a toy; `make serve JUDGE=smollm2` serves a real one. " if bundled else ""
    key = "" if settings.teams is None else "RUBRICD_KEY=rbd_... "
    return (
        f"{judge}Try next: open {url}/ in a browser, or in another terminal "
        f"`{key}.venv/bin/rubricd doctor --url {url}` and docs/tutorial/first-score.md"
    )


class _Server(HttpServer):
    """The first signal begins the drain, the second gives the work that is left no more time, and the third ends the
    process at once. The listener closes when the work is done."""

    def __init__(
        self,
        app: Any,
        table: ConnectionTable,
        others: Sequence[tuple[Any, socket.socket]],
        lifecycle: Lifecycle[Judges],
        clock: Clock,
        drain_s: float,
    ) -> None:
        super().__init__(app, table, others)
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
        if self._signals:  # said here, and not where the signal comes: a line may be half written there
            log.info("draining: new work is refused, accepted work has %g s; a signal cuts it short", self._drain_s)
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


def _metrics_host(settings: Settings) -> str:
    return settings.metrics_host or settings.host


def _listen_for_metrics(settings: Settings) -> socket.socket | None:
    """None where the port of the service serves them."""
    if settings.metrics_port is None:
        return None
    listener = open_listener(_metrics_host(settings), settings.metrics_port, "metrics_port")
    log.info("metrics on %s/metrics", url_of(listener))
    return listener


def serve(settings: Settings) -> int:
    """Runs until a signal comes. Exit status: 0 after a graceful stop, 1 when the judge could not serve. Raises
    ConfigurationError for settings that make no sense, before anything is loaded."""
    configure(settings.log_format)
    for name in unknown_variables(Settings.model_fields):
        log.warning("the variable %s is no setting of this service and changes nothing", name)
    if settings.teams is None:
        check_host(settings.host)
        check_host(_metrics_host(settings), "metrics_host")
    failures: list[BaseException] = []

    def ready() -> None:
        log.info("%s", next_steps(url_of(listener), settings))
        adopt()
        spare_the_collector()

    def failed(error: BaseException) -> None:
        failures.append(error)
        expected = isinstance(error, ConfigurationError)
        log.critical("rubricd does not start: %s", error, exc_info=None if expected else error)
        server.should_exit = True

    lifecycle, clock = Lifecycle[Judges](on_ready=ready, on_failed=failed), SystemClock()
    try:
        app = create_app(settings, lifecycle=lifecycle, clock=clock)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or 'the system'}: {error.strerror or error}") from error
    limits = connection_limits(settings, settings, raise_descriptor_limit())
    telemetry = telemetry_of(app)
    table = ConnectionTable(limits, telemetry.count_connection, telemetry.set_connections)
    listener = open_listener(settings.host, settings.port)
    try:
        metrics = _listen_for_metrics(settings)
    except ConfigurationError:
        listener.close()
        raise
    others = [] if metrics is None else [(metrics_of(app), metrics)]
    log.info("listening on %s; the playground is at /, the contract at /openapi.json", url_of(listener))
    server = _Server(app, table, others, lifecycle, clock, settings.drain_s)

    def too_early_or_late(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):  # before uvicorn takes them over, and after it gives them back
        signal.signal(number, too_early_or_late)
    server.run(sockets=[listener])
    log.info("stopped")
    if server.left_behind:
        logging.shutdown()
        os._exit(0)
    return 1 if failures else 0
