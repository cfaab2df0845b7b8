"""Kills vLLM's processes where the service was killed before it could (kill -9, no memory left).

vLLM's engine does not notice that its parent is gone, and would keep a GPU's memory from the next service for ever.
Run as a script this module is a process of its own: its standard input closes with the service, whatever ends that.

Guarantees: while the service lives the guard kills nothing. It exits right after the service.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress


class Guard:
    """One for each instance of vLLM, from before its start until after its stop."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        # In a session of its own, so that Ctrl-C in a terminal does not end it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, start_new_session=True
        )

    def add(self, pids: Iterable[int]) -> None:
        """Adds processes that must not outlive the service."""
        assert self._process.stdin is not None
        new = set(pids) - self._known
        self._known |= new
        with suppress(BrokenPipeError, ValueError):  # the guard has ended
            self._process.stdin.write(b"".join(b"%d\n" % pid for pid in new))
            self._process.stdin.flush()

    def stop(self) -> None:
        """Ends the guard, which then kills nothing. May be called again."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()


def main() -> None:
    for pid in {int(line) for line in sys.stdin}:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
