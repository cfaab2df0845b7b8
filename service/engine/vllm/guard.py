"""Ends vLLM's processes where the service was ended before it could (kill -9, no memory left).

vLLM's engine does not notice that its parent is gone, and would keep a GPU's memory from the next service for ever.
Run as a script this is a process of its own: its standard input ends with the service, however that happens.

Always true: while the service lives the guard does nothing; it outlives the service by moments.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress


class Guard:
    """One for each life of vLLM, from before its start until after its end."""

    def __init__(self) -> None:
        self._told: set[int] = set()
        # Of its own session, so that Ctrl-C in a terminal is not its end.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, start_new_session=True
        )

    def tell(self, pids: Iterable[int]) -> None:
        """These must not be left."""
        assert self._process.stdin is not None
        new = set(pids) - self._told
        self._told |= new
        with suppress(BrokenPipeError, ValueError):  # the guard has ended
            self._process.stdin.write(b"".join(b"%d\n" % pid for pid in new))
            self._process.stdin.flush()

    def end(self) -> None:
        """May be called again."""
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
