"""`python -m service`: serve, or refuse to start and say why. `python -m service keys`: make and revoke teams' keys."""

import asyncio
import gc
import ipaddress
import logging
import math
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import uvicorn
from pydantic import ValidationError
from pydantic_settings import CliApp

from service.app import create_app
from service.errors import ConfigurationError
from service.lifecycle import Lifecycle
from service.observability.logging_setup import adopt, configure
from service.scoring.scorer import Scorer
from service.settings import Settings
from service.tenancy.keys_cli import main as keys

log = logging.getLogger("rubricd")

# So long at least the listener stays, also with nothing to finish: a balancer that has not looked yet still sends work,
# and who holds a connection may ask once more. An answer says when to come back; a reset connection says nothing.
_LINGER_S = 1.0
# After the drain, for answers to be written.
_WRITE_S = 5.0
# An idle connection is closed by who opened it: balancers do so after 60 s, HTTP clients sooner. Where the server is
# the first to, a request may meet a connection that was just closed.
_KEEP_ALIVE_S = 75


def main() -> int:
    """Exit status: 0 after a graceful stop, 1 when the judge could not serve, 2 for settings that make no sense."""
    if sys.argv[1:2] == ["keys"]:
        return keys(sys.argv[2:])
    try:
        settings = CliApp.run(Settings)
        configure(settings.log_format)
        if settings.teams is None:
            check_host(settings.host)
        return _serve(settings)
    except (ValidationError, ConfigurationError) as error:
        print(f"rubricd does not start: {error}", file=sys.stderr)
        return 2


def check_host(host: str) -> None:
    """Without keys only this machine may ask."""
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


def _ready() -> None:
    adopt()
    spare_the_collector()


def spare_the_collector() -> None:
    """A request makes thousands of objects and hardly a cycle, beside a million that were loaded and stay: looking at
    all of them again and again took half the time of a warm request through Redis."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


class _Server(uvicorn.Server):
    """Unready with the signal, closed when the work is done. What was accepted is answered; what comes meanwhile is
    told to come back, each on a connection that ends with the answer. A second signal gives what is left no more time,
    a third one ends it all."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle[Scorer], drain_s: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_s = drain_s
        self._signals = 0
        self.left_behind = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1
        end = self._lifecycle.drain if self._signals == 1 else self._lifecycle.cut_short
        end()
        self.should_exit = True
        self.force_exit = self._signals > 2

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        began_s = time.monotonic()
        self._lifecycle.drain()
        await asyncio.gather(self._lifecycle.drained.wait(), asyncio.sleep(_LINGER_S if self._signals else 0.0))
        left_s = max(0.0, began_s + self._drain_s - time.monotonic()) + _WRITE_S
        self.config.timeout_graceful_shutdown = math.ceil(left_s)
        await super().shutdown(sockets)
        if self._lifecycle.loading_cancelled:  # what it runs in a thread cannot be interrupted: nobody waits for it
            self.left_behind = True
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())


def _serve(settings: Settings) -> int:
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        known = isinstance(error, ConfigurationError)
        log.critical("rubricd does not start: %s", error, exc_info=None if known else error)
        server.should_exit = True

    lifecycle = Lifecycle[Scorer](on_ready=_ready, on_failed=failed)
    app = create_app(settings, lifecycle=lifecycle)
    listener = socket.create_server((settings.host, settings.port), backlog=2048)
    host, port = listener.getsockname()[:2]
    log.info("listening on http://%s:%d; the playground is at /, the contract at /openapi.json", host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, ws="none", timeout_keep_alive=_KEEP_ALIVE_S
    )
    server = _Server(config, lifecycle, settings.drain_s)

    def too_early_or_late(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):  # before uvicorn takes them over, and afterwards
        signal.signal(number, too_early_or_late)
    server.run(sockets=[listener])
    if server.left_behind:
        logging.shutdown()
        os._exit(0)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
