"""Holds a few descriptors back, so that the process notices when it has none left and can still answer.

Guarantees: while no descriptor can be opened, the spare ones are given up, and callers and the log are told so.
"""

import errno
import logging
import os

log = logging.getLogger("rubricd")

_SPARE = 16


class SpareDescriptors:
    """`exhausted` from the probe that found none until one that finds enough."""

    def __init__(self, count: int = _SPARE) -> None:
        self.exhausted = False
        self._count = count
        self._held: list[int] = []
        self.probe()

    def probe(self) -> None:
        """Gives all up where the process has none left. Takes them back when twice as many are free, lest the first
        free one changes everything again."""
        try:
            if self._held:
                os.close(os.dup(self._held[0]))
            else:
                self._take(2 * self._count)
                self._release(self._count)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self.release()
            if not self.exhausted:
                log.error("no descriptor is left (%s): new connections are refused with 503", error.strerror)
            self.exhausted = True
        else:
            if self.exhausted:
                log.warning("descriptors are free again: new connections are taken")
            self.exhausted = False

    def release(self) -> None:
        self._release(0)

    def _take(self, count: int) -> None:
        while len(self._held) < count:
            self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def _release(self, count: int) -> None:
        while len(self._held) > count:
            os.close(self._held.pop())
