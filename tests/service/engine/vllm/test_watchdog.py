"""What becomes of the engine when vLLM dies, hangs or does not come back; here vLLM is made up."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from service.engine.base import Prompt
from service.engine.build import MINIATURE
from service.engine.vllm import engine as vllm
from service.engine.vllm.engine import VllmEngine
from service.engine.vllm.options import Options
from service.errors import ConfigurationError, EngineFailed

PROMPT = Prompt((1,), (2,))


class Queue:
    """Where the answer comes, as vLLM's collector has it; nothing ever comes but errors."""

    def __init__(self) -> None:
        self._told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def put(self, error: Exception) -> None:
        if not self._told.done():
            self._told.set_exception(error)

    def get_nowait(self) -> Any:
        return None

    async def get(self) -> Any:
        return await self._told


class Life:
    """A vLLM that never answers. `dead` is why it died."""

    max_model_len = 100
    vocabulary = 50
    lora = None

    def __init__(self) -> None:
        self.llm = self
        self.heard = 0
        self.dead: str | None = None
        self.ended = 0
        self.processes: list[Any] = []

    def death(self) -> str | None:
        return self.dead

    async def end(self) -> None:
        self.ended += 1

    async def add_request(self, *_: Any, **__: Any) -> Queue:
        return Queue()

    async def abort(self, ids: list[str]) -> None:
        pass


class World:
    """Every life so far, and what the next starts do: fail with these words, one after the other, then succeed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lives: list[Life] = []
        self.failures: list[str] = []
        self.starting = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def begin(self, folder: Path, options: Options) -> Life:
        self.starting.set()
        await self.go.wait()
        if self.failures:
            raise ConfigurationError(self.failures.pop(0))
        self.lives.append(Life())
        return self.lives[-1]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    shutil.copytree(MINIATURE, tmp_path / "judge")
    made = World(tmp_path / "judge")
    monkeypatch.setattr(vllm, "start", made.begin)
    monkeypatch.setattr(vllm, "_first_read", _nothing)
    monkeypatch.setattr(vllm, "facts", lambda *_: {})
    monkeypatch.setattr(vllm, "_POLL_S", 0.01)
    monkeypatch.setattr(vllm, "_pauses", lambda: iter([0.01] * 50))
    monkeypatch.setattr(Life, "vllm_config", None, raising=False)
    return made


async def _nothing(*_: Any) -> None:
    pass


@pytest_asyncio.fixture
async def engine(world: World) -> AsyncIterator[VllmEngine]:
    made = await VllmEngine.load(str(world.folder), hang_s=0.1)
    yield made
    await made.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def reading(engine: VllmEngine) -> asyncio.Task[Any]:
    return asyncio.create_task(_outcome(engine.read_labels([PROMPT], (3, 4))))


async def _outcome(read: Awaitable[Any]) -> Any:
    try:
        return await read
    except EngineFailed as error:
        return str(error)


async def test_who_waits_is_told_of_a_death_at_once(engine: VllmEngine, world: World) -> None:
    world.go.clear()
    reads = [reading(engine) for _ in range(3)]
    await asyncio.sleep(0)
    world.lives[0].dead = "it died"
    assert await asyncio.gather(*reads) == ["it died"] * 3
    assert engine.down == "it died" and not world.go.is_set()
    assert await reading(engine) == "it died"
    world.go.set()
    await until(lambda: engine.down is None)
    assert engine.restarts == 1 and world.lives[0].ended >= 1


async def test_silence_with_work_in_flight_is_a_hang_and_silence_without_is_none(
    engine: VllmEngine, world: World
) -> None:
    await asyncio.sleep(0.3)
    assert engine.restarts == 0 and engine.down is None
    assert "hangs" in await reading(engine)
    await until(lambda: engine.down is None)
    assert engine.restarts == 1


async def test_an_engine_that_is_heard_does_not_hang(engine: VllmEngine, world: World) -> None:
    read = reading(engine)
    for _ in range(40):
        await asyncio.sleep(0.01)
        world.lives[0].heard += 1
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
    world.lives[0].dead = "it died"
    seen = set()

    def back() -> bool:
        seen.add(engine.down)
        return engine.restarts == 1 and engine.down is None

    await until(back)
    assert seen >= {"no memory", "still no memory"}
    assert len(world.lives) == 2


async def test_a_restart_with_other_weights_does_not_pass_as_the_same_judge(engine: VllmEngine, world: World) -> None:
    weights = world.folder / "model.safetensors"
    true = weights.read_bytes()
    weights.write_bytes(true[:-1] + bytes([true[-1] ^ 1]))
    world.lives[0].dead = "it died"
    await until(lambda: "changed" in str(engine.down))
    await asyncio.sleep(0.1)
    assert "changed" in str(engine.down) and len(world.lives) == 1
    weights.write_bytes(true)
    await until(lambda: engine.down is None)


async def test_stopping_while_it_restarts_starts_nothing_more(world: World) -> None:
    engine = await VllmEngine.load(str(world.folder))
    world.go.clear()
    world.starting.clear()
    world.lives[0].dead = "it died"
    await world.starting.wait()
    await engine.stop()
    world.go.set()
    await asyncio.sleep(0.05)
    assert len(world.lives) == 1 and world.lives[0].ended >= 1
    assert engine.down is not None
    assert await reading(engine) == engine.down


async def test_after_the_stop_everybody_is_refused(world: World) -> None:
    engine = await VllmEngine.load(str(world.folder))
    read = reading(engine)
    await asyncio.sleep(0)
    await engine.stop()
    assert await read == await reading(engine) == "the judge was stopped"
    assert world.lives[0].ended >= 1


async def test_a_watchdog_that_fails_takes_the_engine_down(engine: VllmEngine, world: World) -> None:
    read = reading(engine)
    await asyncio.sleep(0)
    world.lives[0].death = None  # type: ignore[assignment, method-assign]
    assert await read == "the watchdog of vLLM failed" == engine.down
