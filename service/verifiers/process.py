"""One process that decides rules, as seen from the service: started when needed, killed when in doubt, replaced.

Always true: an answer belongs to the job that was handed over last, because a process that did not answer in time, or
whose caller has left, is killed and never spoken to again. It is a fresh interpreter, never a fork of the service, in
isolated mode and with next to no environment. Every process that was started is waited for.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("worker.py")
_START_S = 60.0


class WorkerDied(Exception):
    """The process is gone or spoke nonsense; the text says which, in fixed words."""


class RuleProcess:
    """A place for one process at a time. Not for two callers at once: the pool sees to that."""

    def __init__(self) -> None:
        self._program: _Program | None = None
        self._ending: set[asyncio.Future[int]] = set()
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def decide(self, job: bytes, timeout_s: float) -> dict[str, Any]:
        """What the process answers to one line. `timeout_s` runs from when it has begun. Raises TimeoutError, Lost."""
        self._idle.clear()
        try:
            program = await self._begin(job)
            async with asyncio.timeout(timeout_s):
                return await program.answer()
        except BaseException:
            self._kill()
            raise
        finally:
            self._idle.set()

    def close(self) -> None:
        """Kill the process; no other is started. A decision under way raises Lost."""
        self._closed = True
        if self._idle.is_set():
            self._kill()
        elif self._program is not None:
            self._program.hang_up()

    async def ended(self) -> None:
        """Returns when, after `close`, no process is left."""
        await self._idle.wait()
        await asyncio.gather(*self._ending)

    async def _begin(self, job: bytes) -> "_Program":
        """Hand the job over, and wait until it has begun. A process may have died while it was idle: then, once, to a
        fresh one, which cannot decide anything twice, since the first had not begun."""
        try:
            async with asyncio.timeout(_START_S):
                if self._program is not None and await self._program.begins(job):
                    return self._program
                self._kill()
                if self._closed:
                    raise WorkerDied("the rules are being stopped")
                self._program = _Program()
                if await self._program.begins(job):
                    return self._program
        except TimeoutError as error:
            raise WorkerDied("the rule process took too long to start") from error
        except OSError as error:
            raise WorkerDied("no rule process can be started") from error
        raise WorkerDied("the rule process did not start")

    def _kill(self) -> None:
        program, self._program = self._program, None
        if program is not None:
            ending = program.end()
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)


class _Program:
    """A running interpreter and the socket that is its standard input and output. Raises OSError if it cannot start."""

    def __init__(self) -> None:
        self._unread = b""
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(_PROGRAM)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                env=_environment(os.environ),
                # A Ctrl-C at the terminal is for the service, which drains before it stops its processes.
                start_new_session=True,
            )
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()

    async def begins(self, job: bytes) -> bool:
        """Whether it took the job; False if it is dead."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, job)
            return await self._line() == b"begun"
        except (ConnectionError, EOFError):
            return False

    async def answer(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(await self._line())
        except (ConnectionError, EOFError, ValueError) as error:
            raise WorkerDied("the rule process died while it decided") from error
        return answer

    def hang_up(self) -> None:
        """Make whoever waits for it see its end. To close a socket that is waited for would leave them waiting."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def end(self) -> asyncio.Future[int]:
        """Kill it, when nobody waits for it. The future is done when it has been reaped."""
        self._socket.close()
        self._process.kill()
        return asyncio.get_running_loop().run_in_executor(None, self._process.wait)

    async def _line(self) -> bytes:
        while b"\n" not in self._unread:
            chunk = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
            if not chunk:
                raise EOFError
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter may need to start, and none of the service's secrets."""
    return {name: ours[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in ours}
