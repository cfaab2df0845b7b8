"""An instance that does not read a prompt is stopped; here vLLM is made up."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from service.engine.base import LabelLogprobs
from service.engine.vllm import startup
from service.engine.vllm.options import Options
from service.engine.vllm.startup import start_and_probe
from service.errors import ConfigurationError, EngineFailed


class Instance:
    """A vLLM whose first output is whatever `outputs` holds; without one it never answers."""

    lora = None

    def __init__(self) -> None:
        self.llm = self
        self.outputs: asyncio.Queue[Any] = asyncio.Queue()
        self.stopped = False

    async def add_request(self, *_: Any, **__: Any) -> asyncio.Queue[Any]:
        return self.outputs

    async def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Instance:
    made = Instance()

    async def start(folder: Path, options: Options) -> Instance:
        return made

    monkeypatch.setattr(startup, "start", start)
    monkeypatch.setattr(startup, "read_labels", lambda output, labels: output)
    return made


async def test_an_instance_that_reads_a_prompt_is_returned(instance: Instance) -> None:
    instance.outputs.put_nowait(LabelLogprobs((-0.1,)))
    started: Any = await start_and_probe(Path("judge"), Options())
    assert started is instance and not instance.stopped


async def test_an_instance_that_fails_at_the_first_prompt_is_stopped(instance: Instance) -> None:
    instance.outputs.put_nowait(EngineFailed("no whole answer"))
    with pytest.raises(ConfigurationError, match="no whole answer"):
        await start_and_probe(Path("judge"), Options())
    assert instance.stopped


async def test_an_instance_that_does_not_answer_in_time_is_stopped(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "_FIRST_READ_TIMEOUT_S", 0.01)
    with pytest.raises(ConfigurationError, match="TimeoutError"):
        await start_and_probe(Path("judge"), Options())
    assert instance.stopped


async def test_a_start_that_is_cancelled_leaves_no_instance(instance: Instance) -> None:
    starting = asyncio.create_task(start_and_probe(Path("judge"), Options()))
    await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert instance.stopped
