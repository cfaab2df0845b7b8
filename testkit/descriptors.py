"""Uses every file descriptor that this process may have, as a service has it under too many connections."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def every_descriptor_used() -> Iterator[list[int]]:
    """The descriptors that it took: to close one of them leaves one for others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(name) for name in os.listdir("/proc/self/fd")) + 8, hard))
    used: list[int] = []
    try:
        with suppress(OSError):
            while True:
                used.append(os.dup(0))
        yield used
    finally:
        for descriptor in used:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
