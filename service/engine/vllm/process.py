"""Starts vLLM's processes below this one, watches them and kills them. The engine goes through several such instances.

Nothing of vLLM is imported before a judge is started, and none of its HTTP routes is mounted.

Guarantees: after `stop`, and after a start that failed or was cancelled, none of its processes is left, stopped ones
(SIGSTOP) included. One start at a time: vLLM's processes are known by the name that vLLM gives them and by those that
existed before.
"""

import asyncio
import gc
import logging
import multiprocessing
import multiprocessing.resource_tracker
import shutil
import signal
import tempfile
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from service.engine.vllm.guard import Guard
from service.engine.vllm.options import (
    Options,
    engine_arguments,
    forget_sockets,
    on_cpu,
    write_compile_environment,
    write_environment,
)
from service.errors import ConfigurationError

_log = logging.getLogger(__name__)
# Seconds that processes have to be gone after they were killed.
_KILL_TIMEOUT_S = 10.0
# How long vLLM has to close its sockets.
_SOCKET_POLLS, _SOCKET_POLL_S = 200, 0.02
# How often the guard learns the processes of a vLLM that is starting.
_GUARD_UPDATE_S = 0.5


class VllmInstance:
    """vLLM from one start to its stop. `outputs` counts the messages that came from its processes."""

    def __init__(self, llm: Any, cores: Iterable[Any], sockets: Path, lora: Any, guard: Guard) -> None:
        self.llm = llm
        self.lora = lora
        self.max_model_len: int = llm.model_config.max_model_len
        self.vocabulary_size: int = llm.model_config.get_vocab_size()
        self.outputs = 0
        self._sockets = sockets
        self._guard = guard
        self.processes = _with_children(cores)
        self._shared = _shared_memory(self.processes)
        self._stop_lock = threading.Lock()
        self._count_outputs()

    def crash_reason(self) -> str | None:
        """The reason why this instance cannot go on, None while it can."""
        for process in self.processes:
            if not _is_alive(process):
                return f"vLLM's process {process.pid} died"
        return "vLLM's engine failed" if self.llm.errored else None

    async def stop(self) -> None:
        """Kills what is left of it and frees what it held in this process. May be called again."""
        await asyncio.to_thread(self._stop_blocking)
        # vLLM has its sockets closed in this loop, by its own monitor where that was first to see the crash, and leaves
        # their context to the garbage collector.
        held = self.llm.engine_core.resources
        for _ in range(_SOCKET_POLLS):
            if held.input_socket.closed and held.output_socket.closed:
                held.ctx.term()
                return
            await asyncio.sleep(_SOCKET_POLL_S)

    def _stop_blocking(self) -> None:
        with self._stop_lock:
            _kill(self.processes)
            self.llm.shutdown(timeout=0)
            gc.unfreeze()
            self._guard.stop()
            for path in filter(Path.exists, self._shared):
                path.unlink(missing_ok=True)
                multiprocessing.resource_tracker.unregister(f"/{path.name}", "shared_memory")
            _remove(self._sockets)

    def _count_outputs(self) -> None:
        # vLLM's own loop drops what is no request's last output, so it alone cannot tell slow from silent.
        core = self.llm.engine_core
        get_output = core.get_output_async

        async def counted() -> Any:
            output = await get_output()
            self.outputs += 1
            return output

        core.get_output_async = counted


async def start(folder: Path, options: Options) -> VllmInstance:
    """Loads the judge, or raises ConfigurationError. When cancelled, it kills what it started and then returns."""
    cancelled, existing, guard = threading.Event(), {core.pid for core in _engine_cores()}, Guard()
    starting = asyncio.ensure_future(asyncio.to_thread(_start_blocking, folder, options, cancelled, existing, guard))
    try:
        while not starting.done():
            await asyncio.wait({starting}, timeout=_GUARD_UPDATE_S)
            guard.add(process.pid for process in _with_children(_engine_cores(existing)))
        return starting.result()
    except asyncio.CancelledError:
        cancelled.set()
        # A thread cannot be cancelled, but it fails once the processes that it waits for are gone.
        while not starting.done():
            await asyncio.to_thread(_kill_new, existing)
            await asyncio.wait({starting}, timeout=0.1)
        if starting.exception() is None:
            await starting.result().stop()
        raise


def _start_blocking(
    folder: Path, options: Options, cancelled: threading.Event, existing: set[int], guard: Guard
) -> VllmInstance:
    sockets = Path(tempfile.mkdtemp(prefix="rubricd-vllm-"))
    try:
        llm, lora = _create_llm(folder, options, cancelled, sockets)
        instance = VllmInstance(llm, _engine_cores(existing), sockets, lora, guard)
    except Exception as error:
        _kill_new(existing)
        guard.stop()
        _remove(sockets)
        if isinstance(error, ConfigurationError):
            raise
        _log.debug("vLLM does not start", exc_info=True)
        raise ConfigurationError(
            f"vLLM cannot run {folder}: {_first_sentence(error)}; its log lines above say more"
        ) from error
    # A full collection of all that vLLM and torch have loaded stops the event loop for half a second: none is needed.
    gc.collect()
    gc.freeze()
    return instance


def _remove(sockets: Path) -> None:
    shutil.rmtree(sockets, ignore_errors=True)
    forget_sockets(sockets)


def _create_llm(folder: Path, options: Options, cancelled: threading.Event, sockets: Path) -> tuple[Any, Any]:
    write_environment(options, sockets)
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise ConfigurationError(
            f"vLLM cannot be imported ({error}): `pip install 'rubricd[vllm]'` on a machine with a GPU, "
            "`make .venv/vllm` on one without"
        ) from error
    cpu = on_cpu()
    write_compile_environment(options, cpu=cpu)
    # The usage context chooses the sizes of a step: those for throughput, as of an offline LLM.
    config = AsyncEngineArgs(**engine_arguments(folder, options, cpu=cpu)).create_engine_config(UsageContext.LLM_CLASS)
    with _SigintBlocked():
        if cancelled.is_set():
            raise ConfigurationError("the start was cancelled")
        llm = AsyncLLM.from_vllm_config(config, usage_context=UsageContext.LLM_CLASS, disable_log_stats=False)
    return llm, LoRARequest("judge", 1, options.lora) if options.lora else None


def _first_sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # pydantic's first line only counts errors.
    first = lines[0] if lines else type(error).__name__
    return next((line for line in lines if line.startswith("Value error")), first)[:400]


class _SigintBlocked:
    """Children inherit this thread's signal mask: Ctrl-C is for the service, which drains while vLLM still answers."""

    def __enter__(self) -> None:
        # Starting the tracker of shared memory unblocks the signal again, so it is started first.
        multiprocessing.resource_tracker.ensure_running()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def _engine_cores(existing: Collection[int] = ()) -> list[Any]:
    """vLLM's processes that are children of this one, without those of the ids `existing`."""
    import psutil

    cores = []
    for child in multiprocessing.active_children():
        if child.name.startswith("EngineCore") and child.pid not in existing:
            with suppress(psutil.NoSuchProcess):
                cores.append(psutil.Process(child.pid))
    return cores


def _with_children(processes: Iterable[Any]) -> list[Any]:
    import psutil

    known = {process.pid: process for process in processes}
    for process in list(known.values()):
        with suppress(psutil.NoSuchProcess):
            known |= {child.pid: child for child in process.children(recursive=True)}
    return list(known.values())


def _kill_new(existing: Collection[int]) -> None:
    _kill(_engine_cores(existing))


def _is_alive(process: Any) -> bool:
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kill(processes: Iterable[Any]) -> None:
    import psutil

    known = _with_children(processes)
    for process in known:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    left = [process.pid for process in psutil.wait_procs(known, timeout=_KILL_TIMEOUT_S)[1] if _is_alive(process)]
    if left:
        _log.error("processes of vLLM do not die: %s", left)


def _shared_memory(processes: Iterable[Any]) -> set[Path]:
    """Shared memory that killed processes would leave behind, where the system reports it."""
    import psutil

    paths: set[Path] = set()
    for process in processes:
        with suppress(psutil.Error, AttributeError):
            paths |= {Path(held.path) for held in process.memory_maps() if held.path.startswith("/dev/shm/psm_")}
    return paths
