"""One process that decides rules, as seen from the service: started when needed, killed when in doubt, replaced.

Always true: an answer belongs to the job that was handed over last, because a process that did not answer in time, or
whose caller has left, is killed and never spoken to again. It is a fresh interpreter, never a fork of the service, in
isolated mode and with next to no environment.
"""

import asyncio
import json
import os
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("rule_worker.py")
_START_S = 60.0


class Lost(Exception):
    """The process is gone or spoke nonsense; the text says which, in fixed words."""


class RuleProcess:
    """A place for one process at a time. Not for two callers at once: the pool sees to that."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._ending: set[asyncio.Task[int]] = set()
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def decide(self, job: bytes, timeout_s: float) -> dict[str, Any]:
        """What the process answers to one line. `timeout_s` runs from when it has begun. Raises TimeoutError, Lost."""
        self._idle.clear()
        try:
            process = await self._begin(job)
            async with asyncio.timeout(timeout_s):
                return _answer(await _line(process))
        except BaseException:
            self._kill()
            raise
        finally:
            self._idle.set()

    def close(self) -> None:
        """Kill the process; no other is started. A decision under way raises Lost."""
        self._closed = True
        self._kill()

    async def ended(self) -> None:
        """Returns when, after `close`, no process is left."""
        await self._idle.wait()
        self._kill()
        await asyncio.gather(*self._ending)

    async def _begin(self, job: bytes) -> Process:
        """Hand the job over, and wait until it has begun. A process may have died while it was idle: then, once, to a
        fresh one, which cannot decide anything twice, since the first had not begun."""
        try:
            async with asyncio.timeout(_START_S):
                if self._process is not None and await _begun(self._process, job):
                    return self._process
                self._kill()
                process = await self._start()
                if await _begun(process, job):
                    return process
        except TimeoutError as error:
            raise Lost("the rule process took too long to start") from error
        raise Lost("the rule process did not start")

    async def _start(self) -> Process:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(_PROGRAM),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(os.environ),
            # A Ctrl-C at the terminal is for the service, which drains before it stops its processes.
            start_new_session=True,
        )
        if self._closed:
            raise Lost("the rules are being stopped")
        return self._process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        ending = asyncio.ensure_future(process.wait())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter may need to start, and none of the service's secrets."""
    return {name: ours[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in ours}


async def _line(process: Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readline()


async def _begun(process: Process, job: bytes) -> bool:
    assert process.stdin is not None
    try:
        process.stdin.write(job)
        await process.stdin.drain()
        return await _line(process) == b"begun\n"
    except (ConnectionError, ValueError):
        return False


def _answer(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise Lost("the rule process died while it decided") from error
    return answer if isinstance(answer, dict) else {}
