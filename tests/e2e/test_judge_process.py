"""The judge's process of a real service is killed under load, and ends with the service, whatever ends that."""

import asyncio
import os
import signal
import time
from collections import Counter
from typing import Any

import httpx
import psutil
import pytest

from testkit.processes import Running, runs, service

ITEM = {
    "prompt": "What should I do about a headache?",
    "responses": ["Get some rest.", "Drink a glass of water."],
    "rubric": [
        {"text": "Tells the user to get some rest.", "points": 1},
        {"text": "Tells the user to drink water.", "points": 1},
    ],
}
APART = 1e-3
"""Batches of other sizes round otherwise."""


def judge_of(running: Running) -> psutil.Process:
    [judge] = [child for child in psutil.Process(running.process.pid).children() if child.name() == "rubricd-judge"]
    return judge


def ends(pid: int, within_s: float = 10.0) -> bool:
    until_s = time.monotonic() + within_s
    while runs(pid) and time.monotonic() < until_s:
        time.sleep(0.02)
    return not runs(pid)


def has_torch(process: psutil.Process) -> bool:
    return any("libtorch" in held.path for held in process.memory_maps())


def probabilities(answer: dict[str, Any]) -> list[float]:
    return [criterion["p"] for result in answer["results"] for criterion in result["criteria"]]


async def test_killed_under_load_nothing_is_invented_lost_or_left_waiting() -> None:
    found: Counter[str] = Counter()
    with service("--cache-entries", "0") as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            expected = probabilities((await client.post("/v1/score", json={"items": [ITEM]})).json())
            ended = asyncio.Event()

            async def ask() -> None:
                while not ended.is_set():
                    answer = await client.post("/v1/score", json={"items": [ITEM]})
                    if answer.status_code == 503:
                        found["refused"] += 1
                        assert "retry-after" in answer.headers
                        await asyncio.sleep(0.05)
                        continue
                    assert answer.status_code == 200
                    for result in answer.json()["results"]:
                        found.update(criterion["status"] for criterion in result["criteria"])
                    if all(c["status"] == "ok" for result in answer.json()["results"] for c in result["criteria"]):
                        assert probabilities(answer.json()) == pytest.approx(expected, abs=APART)

            async def is_ready() -> bool:
                return (await client.get("/readyz")).status_code == 200

            callers = [asyncio.create_task(ask()) for _ in range(8)]
            for _ in range(3):
                await asyncio.sleep(0.5)
                killed = judge_of(running)
                killed.kill()
                async with asyncio.timeout(60):
                    while await is_ready():
                        await asyncio.sleep(0.01)
                    while not await is_ready():
                        await asyncio.sleep(0.05)
                assert judge_of(running).pid != killed.pid
            await asyncio.sleep(0.5)
            ended.set()
            await asyncio.wait_for(asyncio.gather(*callers), 30)
            assert "rubricd_engine_restarts_total 3.0" in (await client.get("/metrics")).text
    assert {"ok", "engine_error", "refused"} <= set(found) <= {"ok", "engine_error", "refused", "overloaded"}, found
    assert found["ok"] > 100, found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_service(number: signal.Signals) -> None:
    with service() as running:
        judge = judge_of(running)
        assert has_torch(judge) and not has_torch(psutil.Process(running.process.pid))
        os.kill(running.process.pid, number)
        assert ends(judge.pid)
        assert running.process.wait(timeout=30) == (0 if number == signal.SIGTERM else -number)
