"""The real vLLM is killed and stopped under load: nobody is left waiting, nothing is made up, and it comes back."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Sequence

import psutil
import pytest

from service.engine.base import LabelLogprobs, Outcome
from service.engine.vllm.engine import VllmEngine
from service.errors import EngineFailed
from testkit.waiting import START_S
from tests.service.engine.vllm.prompts import (
    LABELS,
    cases,
    close,
    logprobs,
)

# A restart takes half a minute on two quiet cores.
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def survives(engine: VllmEngine, victim: int, how: signal.Signals, *, load: int, seen_s: float) -> None:
    """Do harm to one of vLLM's processes. Nobody may be left waiting, nothing made up, and it must come back."""
    prompts = cases(24, seed=9)
    truth = dict(zip(prompts, logprobs(await engine.read_labels(prompts, LABELS)), strict=True))
    old, restarts, harmed = engine.processes, engine.restarts, asyncio.Event()
    reads = failures = 0

    async def ask(rng: random.Random) -> None:
        nonlocal reads, failures
        while engine.restarts == restarts or rng.random() < 0.9:
            asked = rng.sample(prompts, 6)
            try:
                outcomes: Sequence[Outcome] = await engine.read_labels(asked, LABELS)
            except EngineFailed:
                failures += 1
                await asyncio.sleep(0.05)
                continue
            for prompt, outcome in zip(asked, outcomes, strict=True):
                assert isinstance(outcome, LabelLogprobs | EngineFailed)
                if isinstance(outcome, LabelLogprobs):
                    assert close([outcome.logprobs], [truth[prompt]])
                    reads += 1

    async def harm() -> float:
        await asyncio.sleep(0.5)
        os.kill(old[victim], how)
        harmed.set()
        began = time.monotonic()
        while engine.down is None:
            await asyncio.sleep(0.01)
        took_s = time.monotonic() - began
        with pytest.raises(EngineFailed):
            await engine.read_labels(prompts, LABELS)
        assert engine.down is not None, "who asks meanwhile is refused at once"
        return took_s

    async with asyncio.timeout(START_S):
        took_s, *_ = await asyncio.gather(harm(), *(ask(random.Random(i)) for i in range(load)))
        while engine.down is not None:
            await asyncio.sleep(0.05)
    assert isinstance(took_s, float) and took_s < seen_s
    assert engine.restarts == restarts + 1
    if load:
        assert reads and failures
    assert close(logprobs(await engine.read_labels(prompts, LABELS)), list(truth.values()))
    assert engine.unfinished == 0
    assert not any(psutil.pid_exists(pid) for pid in old)
    assert not set(old) & set(engine.processes)


@pytest.mark.parametrize("victim", [0, 1], ids=["engine", "worker"])
async def test_a_killed_process_under_load(vllm_engine: VllmEngine, victim: int) -> None:
    await survives(vllm_engine, victim, signal.SIGKILL, load=4, seen_s=60.0)


async def test_a_stopped_process_under_load(vllm_engine: VllmEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "hang_s", 3.0)
    await survives(vllm_engine, 1, signal.SIGSTOP, load=4, seen_s=60.0)


async def test_a_killed_process_while_nobody_asks(vllm_engine: VllmEngine) -> None:
    await survives(vllm_engine, 0, signal.SIGKILL, load=0, seen_s=60.0)
