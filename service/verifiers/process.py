"""A rule process is the service's side of one process that decides rules: it is started, killed and replaced here.

Guarantees: an answer belongs to the job that was sent last, because a process that did not answer in time, or whose
caller has left, is killed and not used again. The process is a fresh interpreter in isolated mode, not a fork of the
service, and has none of the service's environment but its paths. Every process that was started is waited for.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("worker.py")
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """What a process decides at once. Each check is a rule's name, its parameters and the place of its response in
    `texts`."""

    checks: Sequence[tuple[str, Mapping[str, Any], int]]
    texts: Sequence[str]
    limit_s: float

    def encode(self) -> bytes:
        """A JSON line, and then the responses as they are: to write a long one as JSON takes far longer."""
        texts = [text.encode("utf-8", "surrogatepass") for text in self.texts]
        head = {"checks": self.checks, "bytes": [len(text) for text in texts], "limit_s": self.limit_s}
        return b"".join((json.dumps(head).encode(), b"\n", *texts))


class WorkerDied(Exception):
    """The process is gone or broke the protocol; the text says which, in fixed words."""


class RuleProcess:
    """Holds one process at a time, for one caller at a time; the pool sees to that."""

    def __init__(self) -> None:
        self._program: _Program | None = None
        self._ending: set[asyncio.Future[int]] = set()
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def decide(self, job: Job, timeout_s: float) -> dict[str, Any]:
        """Returns what the process answers to one job. `timeout_s` runs from when the process has started the job.

        Raises TimeoutError or WorkerDied."""
        self._idle.clear()
        try:
            program = await self._start_job(job.encode())
            async with asyncio.timeout(timeout_s):
                return await program.receive()
        except BaseException:
            # Also when the caller is cancelled: the process may still answer, and the next job must not get that
            # answer.
            self._kill()
            raise
        finally:
            self._idle.set()

    def close(self) -> None:
        """Kills the process; no other is started. A decision that is under way raises WorkerDied."""
        self._closed = True
        if self._idle.is_set():
            self._kill()
        elif self._program is not None:
            self._program.disconnect()

    async def wait_ended(self) -> None:
        """Returns when, after `close`, no process is left."""
        await self._idle.wait()
        await asyncio.gather(*self._ending)

    async def _start_job(self, job: bytes) -> "_Program":
        """Sends the job, and returns when a process has started it."""
        try:
            async with asyncio.timeout(_START_S):
                if self._program is not None and await self._program.send(job):
                    return self._program
                # The process died while it was idle. A fresh one gets the job, once; nothing is decided twice, since
                # the first one had not started it.
                self._kill()
                if self._closed:
                    raise WorkerDied("the rules are being stopped")
                self._program = _Program()
                if await self._program.send(job):
                    return self._program
        except TimeoutError as error:
            raise WorkerDied("the rule process took too long to start") from error
        except OSError as error:
            raise WorkerDied("no rule process can be started") from error
        raise WorkerDied("the rule process did not start")

    def _kill(self) -> None:
        program, self._program = self._program, None
        if program is not None:
            ending = program.kill()
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)


class _Program:
    """A running interpreter and the socket that is its standard input and output. Raises OSError if it cannot start."""

    def __init__(self) -> None:
        self._unread = b""
        self._socket, child_socket = socket.socketpair()
        self._socket.setblocking(False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(_PROGRAM)],
                stdin=child_socket.fileno(),
                stdout=child_socket.fileno(),
                stderr=subprocess.DEVNULL,
                env=_environment(os.environ),
                # A Ctrl-C at the terminal is meant for the service, which drains before it stops its processes.
                start_new_session=True,
            )
        except BaseException:
            self._socket.close()
            raise
        finally:
            child_socket.close()

    async def send(self, job: bytes) -> bool:
        """Returns whether the process has started the job; False if it is dead."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, job)
            return await self._read_line() == b"started"
        except (ConnectionError, EOFError):
            return False

    async def receive(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(await self._read_line())
        except (ConnectionError, EOFError, ValueError) as error:
            raise WorkerDied("the rule process died while it decided") from error
        return answer

    def disconnect(self) -> None:
        """Ends the wait of a caller, by a shutdown: to close the socket would leave the caller waiting."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def kill(self) -> asyncio.Future[int]:
        """Kills the process, for which no caller may be waiting. The future is done when it has been reaped."""
        self._socket.close()
        self._process.kill()
        return asyncio.get_running_loop().run_in_executor(None, self._process.wait)

    async def _read_line(self) -> bytes:
        while b"\n" not in self._unread:
            chunk = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
            if not chunk:
                raise EOFError
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line


def _environment(service_environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that an interpreter may need to start, and none of the service's secrets."""
    return {name: value for name, value in service_environment.items() if name in ("PATH", "LD_LIBRARY_PATH")}
