"""Finds a free port on the loopback for a server that a test or a load test starts.

Guarantees: No two processes that ask here get the same port while both live. Linux by default gives these ports to no
connection and to no server that asks it for any port, since those begin at 32768: a server that starts late, or that
is started again, finds its port free.
"""

import fcntl
import os
import socket
import tempfile
from pathlib import Path

FIRST, END = 20_000, 22_768
"""The bus of a Redis cluster listens at its port + 10000, which is below 32768 too. Ray's own ports end at 19999."""
_taken: set[int] = set()
_locks: list[int] = []


def free_port() -> int:
    """One that nobody has, until this process ends. Raises RuntimeError where none is left."""
    begin = os.getpid() * 31
    for n in range(END - FIRST):
        port = FIRST + (begin + n) % (END - FIRST)
        if port not in _taken and _lock(port):
            _taken.add(port)
            if _is_free(port):
                return port
    raise RuntimeError(f"no port from {FIRST} to {END - 1} is free")


def _lock(port: int) -> bool:
    """Keeps other processes from the port. The file stays open: who closes it once loses all its locks."""
    if not _locks:
        path = Path(tempfile.gettempdir()) / f"rubricd-ports-{os.getuid()}"
        _locks.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        fcntl.lockf(_locks[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
