"""`python -m service`: serve, or refuse to start and say why. `python -m service keys`: make and revoke teams' keys."""

import gc
import ipaddress
import logging
import math
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from pydantic import ValidationError
from pydantic_settings import CliApp

from service.admission.keys_command import main as keys
from service.app import create_app
from service.errors import ConfigurationError
from service.settings import Settings

log = logging.getLogger("rubricd")


def main() -> int:
    """Exit status: 0 after a graceful stop, 1 when the judge could not serve, 2 for settings that make no sense."""
    if sys.argv[1:2] == ["keys"]:
        return keys(sys.argv[2:])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("httpx", "httpcore", "transformers"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        settings = CliApp.run(Settings)
        if settings.teams is None:
            _check_host(settings.host)
        return _serve(settings)
    except (ValidationError, ConfigurationError) as error:
        print(f"rubricd does not start: {error}", file=sys.stderr)
        return 2


def _check_host(host: str) -> None:
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


def spare_the_collector() -> None:
    """A request makes thousands of objects and hardly a cycle, beside a million that were loaded and stay: looking at
    all of them again and again took half the time of a warm request through Redis."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


class _Server(uvicorn.Server):
    """Begins the drain with the signal, not when the last connection has gone."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._drain()
        super().handle_exit(sig, frame)


def _serve(settings: Settings) -> int:
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        known = isinstance(error, ConfigurationError)
        log.critical("rubricd does not start: %s", error, exc_info=None if known else error)
        server.should_exit = True

    app = create_app(settings, ready=spare_the_collector, failed=failed)
    listener = socket.create_server((settings.host, settings.port), backlog=2048)
    host, port = listener.getsockname()[:2]
    log.info("listening on http://%s:%d; the playground is at /, the contract at /openapi.json", host, port)
    # The drain answers what is accepted within `drain_s`; a moment more, and whoever still hangs on is cut off.
    grace_s = math.ceil(settings.drain_s) + 5
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=grace_s
    )
    server = _Server(config, drain=lambda: app.state.drain())
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again after a graceful stop
        signal.signal(number, lambda *_: None)
    server.run(sockets=[listener])
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
