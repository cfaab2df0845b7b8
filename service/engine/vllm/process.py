"""One life of vLLM: its processes, started below this one, watched and killed. `vllm.py` lives many of them.

Nothing of vLLM is imported before a judge is started, and none of its HTTP routes is ever mounted.

Always true: after `end`, and after a start that failed or was cancelled, none of its processes is left, stopped ones
included. One start at a time: it knows its processes by the name that vLLM gives them and by those that were there.
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
from service.engine.vllm.options import Options, arguments, on_cpu, set_environment
from service.errors import ConfigurationError

_log = logging.getLogger(__name__)
# Seconds that processes have to be gone after they were killed.
_GONE_S = 10.0
# How long vLLM has to close its sockets.
_LOOKS, _LOOK_S = 200, 0.02
# How often the guard is told what there is of a vLLM that starts.
_TELL_S = 0.5


class Life:
    """vLLM from one start to its end. `heard` counts what has come from its processes."""

    def __init__(self, llm: Any, cores: Iterable[Any], sockets: Path, lora: Any, guard: Guard) -> None:
        self.llm = llm
        self.lora = lora
        self.max_model_len: int = llm.model_config.max_model_len
        self.vocabulary: int = llm.model_config.get_vocab_size()
        self.heard = 0
        self._sockets = sockets
        self._guard = guard
        self.processes = _with_children(cores)
        self._shared = _shared_memory(self.processes)
        self._ending = threading.Lock()
        self._listen()

    def death(self) -> str | None:
        """Why this life is over, as far as can be seen from outside."""
        for process in self.processes:
            if not _lives(process):
                return f"vLLM's process {process.pid} died"
        return "vLLM's engine failed" if self.llm.errored else None

    async def end(self) -> None:
        """Kill what is left of it and free what it held here. May be called again."""
        await asyncio.to_thread(self._end)
        # vLLM has its sockets closed in this loop, by its own watch where that was first to see the death, and leaves
        # their context to the garbage collector.
        held = self.llm.engine_core.resources
        for _ in range(_LOOKS):
            if held.input_socket.closed and held.output_socket.closed:
                held.ctx.term()
                return
            await asyncio.sleep(_LOOK_S)

    def _end(self) -> None:
        with self._ending:
            _kill(self.processes)
            self.llm.shutdown(timeout=0)
            gc.unfreeze()
            self._guard.end()
            for path in filter(Path.exists, self._shared):
                path.unlink(missing_ok=True)
                multiprocessing.resource_tracker.unregister(f"/{path.name}", "shared_memory")
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _listen(self) -> None:
        # vLLM's own loop drops what is no request's last output, so it alone cannot tell slow from silent.
        core = self.llm.engine_core
        get_output = core.get_output_async

        async def heard() -> Any:
            output = await get_output()
            self.heard += 1
            return output

        core.get_output_async = heard


async def start(folder: Path, options: Options) -> Life:
    """Load the judge, or raise ConfigurationError. Cancelled, it kills what it began and then ends."""
    unwanted, others, guard = threading.Event(), {core.pid for core in _cores()}, Guard()
    starting = asyncio.ensure_future(asyncio.to_thread(_start, folder, options, unwanted, others, guard))
    try:
        while not starting.done():
            await asyncio.wait({starting}, timeout=_TELL_S)
            guard.tell(process.pid for process in _with_children(_cores(others)))
        return starting.result()
    except asyncio.CancelledError:
        unwanted.set()
        while not starting.done():
            await asyncio.to_thread(_kill_new, others)
            await asyncio.wait({starting}, timeout=0.1)
        if starting.exception() is None:
            await starting.result().end()
        raise


def _start(folder: Path, options: Options, unwanted: threading.Event, others: set[int], guard: Guard) -> Life:
    sockets = Path(tempfile.mkdtemp(prefix="rubricd-vllm-"))
    try:
        llm, lora = _begin(folder, options, unwanted, sockets)
        life = Life(llm, _cores(others), sockets, lora, guard)
    except Exception as error:
        _kill_new(others)
        guard.end()
        shutil.rmtree(sockets, ignore_errors=True)
        if isinstance(error, ConfigurationError):
            raise
        _log.debug("vLLM does not start", exc_info=True)
        raise ConfigurationError(
            f"vLLM cannot run {folder}: {_sentence(error)}; its log lines above say more"
        ) from error
    # A full collection of all that vLLM and torch have loaded stops the event loop for half a second: none is needed.
    gc.collect()
    gc.freeze()
    return life


def _begin(folder: Path, options: Options, unwanted: threading.Event, sockets: Path) -> tuple[Any, Any]:
    set_environment(options, sockets)
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
    told = arguments(folder, options, cpu=on_cpu())
    # Sizes of a step are chosen by it: those for throughput, as of an offline LLM.
    config = AsyncEngineArgs(**told).create_engine_config(UsageContext.LLM_CLASS)
    with _Uninterrupted():
        if unwanted.is_set():
            raise ConfigurationError("the start was given up")
        llm = AsyncLLM.from_vllm_config(config, usage_context=UsageContext.LLM_CLASS, disable_log_stats=False)
    return llm, LoRARequest("judge", 1, options.lora) if options.lora else None


def _sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # pydantic's first line only counts errors.
    told = next((line for line in lines if line.startswith("Value error")), lines[0] if lines else type(error).__name__)
    return told[:400]


class _Uninterrupted:
    """Children inherit this thread's signal mask: Ctrl-C is for the service, which drains while vLLM still answers."""

    def __enter__(self) -> None:
        # Starting the tracker of shared memory unblocks the signal again, so it is started first.
        multiprocessing.resource_tracker.ensure_running()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def _cores(others: Collection[int] = ()) -> list[Any]:
    """vLLM's processes right below this one, other than those ids."""
    import psutil

    cores = []
    for child in multiprocessing.active_children():
        if child.name.startswith("EngineCore") and child.pid not in others:
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


def _kill_new(others: Collection[int]) -> None:
    _kill(_cores(others))


def _lives(process: Any) -> bool:
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
    left = [process.pid for process in psutil.wait_procs(known, timeout=_GONE_S)[1] if _lives(process)]
    if left:
        _log.error("processes of vLLM do not die: %s", left)


def _shared_memory(processes: Iterable[Any]) -> set[Path]:
    """Shared memory that killed processes would leave behind, where the system tells."""
    import psutil

    paths: set[Path] = set()
    for process in processes:
        with suppress(psutil.Error, AttributeError):
            paths |= {Path(held.path) for held in process.memory_maps() if held.path.startswith("/dev/shm/psm_")}
    return paths
