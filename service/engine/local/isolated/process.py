"""Starts the judge's process below this one, sends it calls, and kills it. The engine goes through several of them.

Guarantees: each call is answered exactly once, by the process or, where that dies or is stopped, by a failure. After
`stop`, and after a start that failed or was cancelled, the process is gone and reaped. It is a fresh interpreter, not a
fork, and has none of the service's own settings in its environment.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from service.engine.local.isolated import frames, messages
from service.engine.local.isolated.frames import Frame
from service.engine.local.isolated.messages import Call, JudgeSpec, LoadedFacts
from service.errors import ConfigurationError, EngineFailed

WORKER = "service.engine.local.isolated.worker"
_ROOT = Path(__file__).resolve().parents[4]
_OWN_SETTINGS = "RUBRICD_"
_GONE = (EOFError, OSError)
_log = logging.getLogger(__name__)


class JudgeProcess:
    """One process from its start to its end. `outputs` counts the messages that came from it."""

    def __init__(
        self, program: "subprocess.Popen[bytes]", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.outputs = 0
        self._program = program
        self._reader, self._writer = reader, writer
        self._gone: str | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, spec: JudgeSpec) -> tuple[Self, LoadedFacts]:
        """Returns the process once its judge can be queried. Raises ConfigurationError with what to change."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # Not in another thread: the process is killed by the system when the thread that started it ends.
                program = _run_worker(theirs)
            except BaseException:
                ours.close()
                raise
        process = cls(program, *await asyncio.open_connection(sock=ours))
        try:
            loaded = await process._load(spec)
        except BaseException:
            await process.stop()
            raise
        process._reading = asyncio.create_task(process._read_answers(), name="judge's answers")
        return process, loaded

    @property
    def pid(self) -> int:
        return self._program.pid

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def crash_reason(self) -> str | None:
        """The reason why this process cannot go on, None while it can."""
        return self._gone

    async def call(self, call: Call) -> list[Any]:
        """Returns one outcome a prompt. Raises what the call failed with. A caller that is cancelled ends the call in
        the process as well."""
        if self._gone is not None:
            raise EngineFailed(self._gone)
        frame = messages.encode_call(call)
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting[call.number] = answer
        self._send(frame)
        try:
            return await answer
        except asyncio.CancelledError:
            self._send(Frame({"kind": "leave", "number": call.number}, frames.no_ids()))
            raise
        finally:
            self._waiting.pop(call.number, None)

    def cancel(self, number: int, place: int) -> None:
        """Nobody waits for the prompt at this place of the call any more."""
        self._send(Frame({"kind": "cancel", "number": number, "place": place}, frames.no_ids()))

    def fail_all(self, reason: str) -> None:
        """Answers everybody who waits with a failure, and refuses new calls. The first reason stays."""
        self._gone = self._gone or reason
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(EngineFailed(self._gone))

    async def stop(self) -> None:
        """Kills the process. May be called again."""
        self.fail_all("the judge was stopped")
        self._program.kill()
        self._writer.transport.abort()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await _reaped(self._program)

    def _send(self, frame: Frame) -> None:
        if self._gone is None:
            self._writer.write(frames.encode(frame))

    async def _load(self, spec: JudgeSpec) -> LoadedFacts:
        try:
            self._send(messages.encode_spec(spec))
            frame = await frames.read(self._reader)
        except (*_GONE, ValueError) as error:
            raise ConfigurationError(
                f"the judge's process {await self._how_it_ended()} while it loaded {spec.judge}; "
                "its log lines above may say more"
            ) from error
        if frame.head["kind"] == "refused":
            raise ConfigurationError(frame.head["message"])
        return messages.decode_loaded(frame)

    async def _read_answers(self) -> None:
        """Reads until the process is gone, and then fails everybody who waits."""
        try:
            while True:
                self._take(await frames.read(self._reader))
        except _GONE:
            self.fail_all("the judge's process died")
            self._gone = f"the judge's process {await self._how_it_ended()}"
        except Exception:
            _log.exception("the judge's process sent what is no answer")
            self.fail_all("the judge's process sent what is no answer")

    def _take(self, frame: Frame) -> None:
        self.outputs += 1
        # None for a caller that has left, and for a message of progress.
        answer = self._waiting.get(frame.head.get("number", -1))
        if answer is None or answer.done():
            return
        if frame.head["kind"] == "failure":
            answer.set_exception(messages.decode_failure(frame))
        else:
            answer.set_result(messages.decode_outcomes(frame))

    async def _how_it_ended(self) -> str:
        """Waits for the end of a process that has closed its socket, whose last act that is."""
        try:
            async with asyncio.timeout(5.0):
                status = await _reaped(self._program)
        except TimeoutError:
            self._program.kill()
            return "stopped answering"
        if status == -signal.SIGKILL:
            return "was killed (is there enough memory?)"
        return f"ended with {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _run_worker(its_socket: socket.socket) -> "subprocess.Popen[bytes]":
    number = its_socket.fileno()
    return subprocess.Popen(
        [sys.executable, "-P", "-m", WORKER, str(number), str(os.getpid())],
        pass_fds=[number],
        stdin=subprocess.DEVNULL,
        env=_environment(os.environ),
        # A Ctrl-C at the terminal is meant for the service, which drains while the judge still answers.
        start_new_session=True,
    )


def _environment(service_environment: Mapping[str, str]) -> dict[str, str]:
    """The service's own environment without its settings, among which are secrets, and with the way to this package."""
    kept = {name: value for name, value in service_environment.items() if not name.startswith(_OWN_SETTINGS)}
    path = [str(_ROOT), *filter(None, [service_environment.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(path)}


async def _reaped(program: "subprocess.Popen[bytes]") -> int:
    return await asyncio.to_thread(program.wait)
