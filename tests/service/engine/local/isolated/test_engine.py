"""The judge's process is killed, stopped and restarted under load; here it has no model (made_up_worker.py)."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.engine.base import Generation, Prompt, Sampling
from service.engine.fake import oracle, text_oracle
from service.engine.local.isolated.engine import IsolatedEngine
from service.engine.local.isolated.messages import JudgeSpec
from service.engine.supervision import restart, watchdog
from service.errors import EngineFailed
from testkit.processes import runs
from testkit.waiting import HUNG_S, until

LABELS = (3, 4)
KILLS = 20


@pytest.fixture(autouse=True)
def quick(made_up: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "POLL_S", 0.01)
    monkeypatch.setattr(restart, "restart_pauses_s", lambda: iter([0.01] * 500))


@asynccontextmanager
async def running(judge: str = "judge", hang_s: float = 30.0) -> AsyncIterator[IsolatedEngine]:
    engine = await IsolatedEngine.load(JudgeSpec(judge, None, "auto", None, None), hang_s=hang_s)
    yield engine
    await engine.stop()


def batch(seed: int) -> list[Prompt]:
    rng = random.Random(seed)
    shared = tuple(rng.randrange(300) for _ in range(30))
    return [Prompt(shared, tuple(rng.randrange(300) for _ in range(rng.randrange(1, 9)))) for _ in range(8)]


async def test_labels_and_texts_are_those_of_the_engine_in_the_process() -> None:
    async with running() as engine:
        assert (engine.streams, engine.restarts, engine.down, engine.max_model_len) == (False, 0, None, 32_768)
        prompts = batch(1)
        assert await engine.read_labels(prompts, LABELS) == [oracle(p.ids) for p in prompts]
        asked = [Sampling(40, 0.7, seed) for seed in range(len(prompts))]
        expected = [text_oracle(p.ids, 0, s) for p, s in zip(prompts, asked, strict=True)]
        assert await engine.generate(prompts, asked) == expected
        assert isinstance(expected[0], Generation)
        assert await engine.read_labels([], LABELS) == []
        with pytest.raises(ValueError, match="never empty"):
            await engine.read_labels([Prompt((1,), ())], LABELS)


async def test_killed_20_times_under_load_nothing_is_invented_lost_or_left_waiting() -> None:
    found: Counter[str] = Counter()
    ends = asyncio.Event()

    async def ask(caller: int) -> None:
        number = caller
        while not ends.is_set():
            prompts = batch(number)
            number += 100
            try:
                async with asyncio.timeout(HUNG_S):
                    outcomes = await engine.read_labels(prompts, LABELS)
            except EngineFailed:
                found["failed"] += 1
                await asyncio.sleep(0.002)
                continue
            except TimeoutError:
                found["hung"] += 1
                return
            right = len(outcomes) == len(prompts) and outcomes == [oracle(p.ids) for p in prompts]
            found["right" if right else "invented or lost"] += 1

    async with running() as engine:
        callers = [asyncio.create_task(ask(number)) for number in range(6)]
        for kill in range(KILLS):
            right = found["right"]
            await until(lambda: engine.down is None and found["right"] > right)  # noqa: B023
            os.kill(engine.instance.pid, signal.SIGKILL)
            await until(lambda: engine.restarts == kill + 1)  # noqa: B023
        ends.set()
        await asyncio.gather(*callers)
        assert not engine.busy
    assert found["failed"] >= KILLS and found["right"] >= KILLS
    assert (found["invented or lost"], found["hung"]) == (0, 0)


async def test_while_it_restarts_the_reason_is_given_and_everybody_is_refused() -> None:
    async with running() as engine:
        os.kill(engine.instance.pid, signal.SIGKILL)
        await until(lambda: engine.down is not None)
        assert "judge's process" in str(engine.down)
        with pytest.raises(EngineFailed, match="judge's process"):
            await engine.read_labels(batch(1), LABELS)
        await until(lambda: engine.down is None)
        assert await engine.read_labels(batch(1), LABELS) == [oracle(p.ids) for p in batch(1)]


async def test_a_process_that_stands_still_with_work_is_restarted() -> None:
    async with running(hang_s=0.3) as engine:
        await asyncio.sleep(0.6)
        assert (engine.restarts, engine.down) == (0, None), "silence without work is no hang"
        stopped = engine.instance.pid
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(EngineFailed, match="hangs: work in flight"):
            await engine.read_labels(batch(1), LABELS)
        await until(lambda: engine.restarts == 1)
        assert not runs(stopped)


async def test_a_judge_that_computes_for_long_is_slow_and_not_stuck() -> None:
    async with running("slow", hang_s=1.5) as engine:
        assert await engine.read_labels(batch(1), LABELS) == [oracle(p.ids) for p in batch(1)]
        assert engine.restarts == 0


async def test_a_judge_that_computes_nothing_for_long_is_stuck() -> None:
    async with running("hang", hang_s=0.3) as engine:
        with pytest.raises(EngineFailed, match="hangs"):
            await engine.read_labels(batch(1), LABELS)


async def test_a_restart_with_other_files_does_not_pass_as_the_same_judge(tmp_path: Path) -> None:
    async with running(str(tmp_path)) as engine:
        (tmp_path / "changed").touch()
        os.kill(engine.instance.pid, signal.SIGKILL)
        await until(lambda: "changed since the start" in str(engine.down))
        (tmp_path / "changed").unlink()
        await until(lambda: engine.down is None)
        assert engine.restarts == 1


async def test_a_caller_that_leaves_ends_its_call_in_the_process() -> None:
    async with running("hang") as engine:
        reading = asyncio.create_task(engine.read_labels(batch(1), LABELS))
        await until(lambda: engine.busy)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not engine.busy


async def test_stopping_answers_everybody_and_refuses_what_comes_later() -> None:
    async with running("hang") as engine:
        reads: list[Any] = [asyncio.create_task(engine.read_labels(batch(n), LABELS)) for n in range(3)]
        await until(lambda: engine.busy)
        pid = engine.instance.pid
        await engine.stop()
        answers = await asyncio.gather(*reads, return_exceptions=True)
        assert [str(answer) for answer in answers] == ["the judge was stopped"] * 3
        with pytest.raises(EngineFailed, match="stopped"):
            await engine.read_labels(batch(1), LABELS)
        assert not runs(pid)


async def test_stopping_while_it_restarts_leaves_no_process(tmp_path: Path) -> None:
    async with running(str(tmp_path)) as engine:
        (tmp_path / "changed").touch()
        os.kill(engine.instance.pid, signal.SIGKILL)
        await until(lambda: engine.down is not None)
        await engine.stop()
        assert engine.down is not None and not runs(engine.instance.pid)
