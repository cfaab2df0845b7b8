"""What happens to the engine when vLLM crashes, hangs or does not start again; here vLLM is made up."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from service.engine.base import Prompt
from service.engine.build import MINIATURE
from service.engine.supervision import restart, watchdog
from service.engine.vllm import engine as vllm
from service.engine.vllm.engine import VllmEngine
from service.engine.vllm.options import Options
from service.errors import ConfigurationError, EngineFailed
from testkit.waiting import until

PROMPT = Prompt((1,), (2,))


class Queue:
    """Where the answer comes, as vLLM's collector has it; nothing ever comes but errors."""

    def __init__(self) -> None:
        self._error: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def put(self, error: Exception) -> None:
        if not self._error.done():
            self._error.set_exception(error)

    def get_nowait(self) -> Any:
        return None

    async def get(self) -> Any:
        return await self._error


class Instance:
    """A vLLM that never answers. `crashed` is why it cannot go on."""

    max_model_len = 100
    vocabulary_size = 50
    lora = None

    def __init__(self) -> None:
        self.llm = self
        self.outputs = 0
        self.crashed: str | None = None
        self.stopped = 0
        self.processes: list[Any] = []

    def crash_reason(self) -> str | None:
        return self.crashed

    async def stop(self) -> None:
        self.stopped += 1

    async def add_request(self, *_: Any, **__: Any) -> Queue:
        return Queue()

    async def abort(self, ids: list[str]) -> None:
        pass


class World:
    """Every instance so far, and what the next starts do: fail with these messages, one by one, then succeed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instances: list[Instance] = []
        self.failures: list[str] = []
        self.starting = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def start(self, folder: Path, options: Options) -> Instance:
        self.starting.set()
        await self.go.wait()
        if self.failures:
            raise ConfigurationError(self.failures.pop(0))
        self.instances.append(Instance())
        return self.instances[-1]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    shutil.copytree(MINIATURE, tmp_path / "judge")
    made = World(tmp_path / "judge")
    monkeypatch.setattr(vllm, "start_and_probe", made.start)
    monkeypatch.setattr(vllm, "facts", lambda *_: {})
    monkeypatch.setattr(watchdog, "POLL_S", 0.01)
    monkeypatch.setattr(restart, "restart_pauses_s", lambda: iter([0.01] * 50))
    monkeypatch.setattr(Instance, "vllm_config", None, raising=False)
    return made


@pytest_asyncio.fixture
async def engine(world: World) -> AsyncIterator[VllmEngine]:
    made = await VllmEngine.load(str(world.folder), hang_s=0.1)
    yield made
    await made.stop()


def reading(engine: VllmEngine) -> asyncio.Task[Any]:
    return asyncio.create_task(_outcome(engine.read_labels([PROMPT], (3, 4))))


async def _outcome(read: Awaitable[Any]) -> Any:
    try:
        return await read
    except EngineFailed as error:
        return str(error)


async def test_whoever_waits_learns_of_a_crash_at_once(engine: VllmEngine, world: World) -> None:
    world.go.clear()
    reads = [reading(engine) for _ in range(3)]
    await asyncio.sleep(0)
    world.instances[0].crashed = "it crashed"
    assert await asyncio.gather(*reads) == ["it crashed"] * 3
    assert engine.down == "it crashed" and not world.go.is_set()
    assert await reading(engine) == "it crashed"
    world.go.set()
    await until(lambda: engine.down is None)
    assert engine.restarts == 1 and world.instances[0].stopped >= 1


async def test_silence_with_work_in_flight_is_a_hang_and_silence_without_is_none(
    engine: VllmEngine, world: World
) -> None:
    await asyncio.sleep(0.3)
    assert engine.restarts == 0 and engine.down is None
    assert "hangs" in await reading(engine)
    await until(lambda: engine.down is None)
    assert engine.restarts == 1


async def test_an_engine_with_outputs_does_not_hang(engine: VllmEngine, world: World) -> None:
    read = reading(engine)
    for _ in range(40):
        await asyncio.sleep(0.01)
        world.instances[0].outputs += 1
    assert engine.down is None and not read.done()
    assert "hangs" in await read


async def test_a_loop_that_stood_still_is_no_hang_of_the_engine(engine: VllmEngine, world: World) -> None:
    import time

    read = reading(engine)
    await asyncio.sleep(0.03)
    time.sleep(0.5)  # noqa: ASYNC251
    await asyncio.sleep(0.02)
    assert engine.down is None and not read.done()
    assert "hangs" in await read


async def test_a_restart_that_fails_is_tried_again_and_says_why(engine: VllmEngine, world: World) -> None:
    world.failures = ["no memory", "still no memory"]
    world.instances[0].crashed = "it crashed"
    seen = set()

    def back() -> bool:
        seen.add(engine.down)
        return engine.restarts == 1 and engine.down is None

    await until(back)
    assert seen >= {"no memory", "still no memory"}
    assert len(world.instances) == 2


async def test_a_restart_with_other_weights_does_not_pass_as_the_same_judge(engine: VllmEngine, world: World) -> None:
    weights = world.folder / "model.safetensors"
    true = weights.read_bytes()
    weights.write_bytes(true[:-1] + bytes([true[-1] ^ 1]))
    world.instances[0].crashed = "it crashed"
    await until(lambda: "changed" in str(engine.down))
    await asyncio.sleep(0.1)
    assert "changed" in str(engine.down) and len(world.instances) == 1
    weights.write_bytes(true)
    await until(lambda: engine.down is None)


async def test_stopping_while_it_restarts_starts_nothing_more(world: World) -> None:
    engine = await VllmEngine.load(str(world.folder))
    world.go.clear()
    world.starting.clear()
    world.instances[0].crashed = "it crashed"
    await world.starting.wait()
    await engine.stop()
    world.go.set()
    await asyncio.sleep(0.05)
    assert len(world.instances) == 1 and world.instances[0].stopped >= 1
    assert engine.down is not None
    assert await reading(engine) == engine.down


async def test_after_the_stop_everybody_is_refused(world: World) -> None:
    engine = await VllmEngine.load(str(world.folder))
    read = reading(engine)
    await asyncio.sleep(0)
    await engine.stop()
    assert await read == await reading(engine) == "the judge was stopped"
    assert world.instances[0].stopped >= 1


async def test_a_watchdog_that_fails_takes_the_engine_down(engine: VllmEngine, world: World) -> None:
    read = reading(engine)
    await asyncio.sleep(0)
    world.instances[0].crash_reason = None  # type: ignore[assignment, method-assign]
    assert await read == "the watchdog of vLLM failed" == engine.down
