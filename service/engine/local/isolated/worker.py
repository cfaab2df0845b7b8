"""The program of the judge's process: it loads the judge that the service names, and answers the service's calls.

Guarantees: the process ends when the service does, however that ends: the system kills it then, and where the system
cannot, it ends when its socket closes. It ends within the turn, whatever the judge computes. Signals that are sent to
all processes of the service (Ctrl-C, SIGTERM) do not end it: the service decides when it has finished.
"""

import asyncio
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from service.engine.local.isolated import frames, messages
from service.engine.local.isolated.frames import Frame
from service.engine.local.isolated.messages import Call, JudgeSpec, LoadedFacts
from service.errors import ConfigurationError, JudgementError
from service.observability.logging_setup import adopt, configure

_log = logging.getLogger(__name__)
_NAME = b"rubricd-judge"
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15

Loader = Callable[[JudgeSpec], tuple[Any, LoadedFacts]]


class Worker:
    """The judge's side of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, load: Loader) -> None:
        self._reader, self._writer = reader, writer
        self._load = load
        self._engine: Any = None
        self._calls: dict[int, Call] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Returns when the service has closed the socket, or has heard that its judge cannot be loaded."""
        spec = messages.decode_spec(await frames.read(self._reader))
        configure("json" if spec.log_format == "json" else "text")
        loading = asyncio.create_task(self._load_and_tick(spec))
        try:
            while True:
                self._take(await frames.read(self._reader))
                # A call begins before the next message, which may cancel a part of it.
                await asyncio.sleep(0)
        finally:
            loading.cancel()

    async def _load_and_tick(self, spec: JudgeSpec) -> None:
        try:
            self._engine, loaded = await asyncio.to_thread(self._load, spec)
        except ConfigurationError as error:
            return self._send(Frame({"kind": "refused", "message": str(error)}, frames.no_ids()))
        except Exception as error:
            _log.exception("the judge cannot be loaded")
            message = f"the judge {spec.judge} cannot be loaded: {type(error).__name__}: {error}"
            return self._send(Frame({"kind": "refused", "message": message}, frames.no_ids()))
        adopt()
        # What was loaded stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        self._send(messages.encode_loaded(loaded))
        told = self._engine.progress.count
        while True:
            await asyncio.sleep(spec.progress_s)
            if self._tasks and self._engine.progress.count != told:
                told = self._engine.progress.count
                self._send(Frame({"kind": "progress"}, frames.no_ids()))

    def _take(self, frame: Frame) -> None:
        number = frame.head["number"]
        if frame.head["kind"] == "call":
            call = self._calls[number] = messages.decode_call(frame)
            task = self._tasks[number] = asyncio.create_task(self._answer(call))
            # Also for a call that is left before its task runs.
            task.add_done_callback(lambda _: self._forget(number))
        elif frame.head["kind"] == "leave" and number in self._tasks:
            self._tasks[number].cancel()
        elif frame.head["kind"] == "cancel" and number in self._calls:
            self._engine.cancel(self._calls[number].prompts[frame.head["place"]])

    async def _answer(self, call: Call) -> None:
        try:
            if call.samplings:
                outcomes = await self._engine.generate(call.prompts, call.samplings)
            else:
                outcomes = await self._engine.read_labels(call.prompts, call.label_ids)
            self._send(messages.encode_outcomes(call.number, outcomes))
        except (JudgementError, ValueError) as error:
            self._send(messages.encode_failure(call.number, error))
        except Exception as error:
            _log.exception("the judge failed a call")
            self._send(messages.encode_failure(call.number, ValueError(f"the judge failed: {type(error).__name__}")))

    def _forget(self, number: int) -> None:
        del self._calls[number], self._tasks[number]

    def _send(self, frame: Frame) -> None:
        self._writer.write(frames.encode(frame))


def load_judge(spec: JudgeSpec) -> tuple[Any, LoadedFacts]:
    """Returns an engine that counts its `progress`, and what there is to say of its judge."""
    try:
        from service.engine.local.engine import LocalEngine
    except ImportError as error:
        raise ConfigurationError(
            f"engine `local` cannot be imported ({error}): `pip install 'rubricd[service]'` has what it needs"
        ) from error
    dtype: Any = spec.dtype
    engine = LocalEngine.load(
        spec.judge, revision=spec.revision, dtype=dtype, device=spec.device, max_model_len=spec.max_model_len
    )
    return engine, LoadedFacts(engine.identity, engine.max_model_len, str(engine.folder))


def _end_with(parent: int) -> None:
    """Asks the system to kill this process when its parent ends, where it can be asked, and names this process."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NAME, _NAME, 0, 0, 0)
    if os.getppid() != parent:  # it ended before it was asked
        os._exit(0)


async def _serve(number: int, load: Loader) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=number))
    with suppress(EOFError, OSError):
        await Worker(reader, writer, load).run()
    # Threads that compute are not waited for.
    os._exit(0)


def main(load: Loader = load_judge) -> None:
    """Runs until the service ends. `load` may block."""
    number, parent = map(int, sys.argv[1:])
    _end_with(parent)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    asyncio.run(_serve(number, load))


if __name__ == "__main__":
    main()
