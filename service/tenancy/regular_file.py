"""A regular file is read in bounded time and memory, whatever stands in its place: a FIFO, a device, a dead mount.

Guarantees: opening does not wait for a writer; no more than a bound is read; a file system that does not answer holds
a daemon thread, which keeps neither the event loop nor the end of the process waiting; one file can be read when all
descriptors are used, because a spare one is kept for it.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_USED_UP = (errno.EMFILE, errno.ENFILE)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class SpareDescriptor:
    """One descriptor that is held back: where the process has none left, opening a file uses it."""

    def __init__(self) -> None:
        self._spare: int | None = None
        self.keep()

    def keep(self) -> None:
        """Holds one again, if there is one."""
        if self._spare is None:
            try:
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return  # none is free now; the next call tries again

    def open(self, file: Path) -> int:
        """A descriptor of the file. Raises OSError."""
        try:
            return os.open(file, _FLAGS)
        except OSError as error:
            if error.errno not in _USED_UP or self._spare is None:
                raise
        # Another thread may take the place that is free now. Then this raises, and the next look tries again.
        os.close(self._spare)
        self._spare = None
        return os.open(file, _FLAGS)

    def __del__(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


def read_bounded(file: Path, max_bytes: int, spare: SpareDescriptor | None = None) -> bytes:
    """The content, or its first `max_bytes` + 1 bytes. Raises OSError, also for what is no regular file."""
    descriptor = os.open(file, _FLAGS) if spare is None else spare.open(file)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "something else")
            raise OSError(errno.EINVAL, f"it is {kind}, and must be a regular file")
        return _read(descriptor, max_bytes + 1)
    finally:
        os.close(descriptor)
        if spare is not None:
            spare.keep()


def _read(descriptor: int, count: int) -> bytes:
    """One call may return less than there is."""
    parts: list[bytes] = []
    while count and (part := os.read(descriptor, count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def writable_by_others(file: Path) -> str | None:
    """What else than this user can change the file, in words, or None. Raises OSError.

    A group counts that is neither this process's own nor root's. In a sticky folder others cannot replace the file.
    """
    for place, what in (
        (file.resolve(), "the file"),
        (file.resolve().parent, "its folder"),
        (file.parent, "its folder"),
    ):
        found = place.stat()
        others = bool(found.st_mode & stat.S_IWOTH)
        group = bool(found.st_mode & stat.S_IWGRP) and found.st_gid not in (0, os.getegid())
        sticky = stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)
        if (others or group) and not sticky:
            return f"{'any user' if others else 'another group'} may write {what} {place}"
    return None


def in_daemon_thread(call: Callable[[], T]) -> "Future[T]":
    """Runs the call in a thread that the process does not wait for when it ends. Raises RuntimeError where no thread
    can be started."""
    future: Future[T] = Future()
    # From here on the future cannot be cancelled, so that the thread can set its result whoever still waits.
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="regular-file", daemon=True).start()
    return future
