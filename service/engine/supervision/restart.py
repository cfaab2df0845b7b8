"""Restarts an engine's processes, again and again with growing pauses, until they run."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from service.clock import Clock
from service.errors import ConfigurationError

T = TypeVar("T")
_log = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 60.0


async def restart_until_it_runs(
    name: str, clock: Clock, start: Callable[[], Awaitable[T]], on_failed: Callable[[str], None]
) -> T:
    """Returns what `start` returns. After each ConfigurationError `on_failed` is told why, and it is tried again."""
    began_s = clock.now()
    for pause_s in restart_pauses_s():
        try:
            started = await start()
        except ConfigurationError as error:
            on_failed(str(error))
            _log.error("%s was not restarted, next try in %g s: %s", name, pause_s, error)
            await clock.sleep(pause_s)
        else:
            _log.warning("%s was restarted after %.1f s", name, clock.now() - began_s)
            return started
    raise AssertionError("the pauses have no end")


def restart_pauses_s() -> Iterator[float]:
    """The pauses between attempts to restart, which have no end: the operator may free memory or restore the files."""
    pause_s = 1.0
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
