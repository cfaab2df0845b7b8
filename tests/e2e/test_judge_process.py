"""The judge's process of a real service is killed under load, and ends with the service, whatever ends that."""

import asyncio
import os
import signal
from collections import Counter
from typing import Any

import httpx
import psutil
import pytest

from testkit.processes import Running, runs, service
from testkit.waiting import HUNG_S, until, wait_until

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


def has_torch(process: psutil.Process) -> bool:
    return any("libtorch" in held.path for held in process.memory_maps())


def probabilities(answer: dict[str, Any]) -> list[float]:
    return [criterion["p"] for result in answer["results"] for criterion in result["criteria"]]


async def test_killed_under_load_nothing_is_invented_lost_or_left_waiting() -> None:
    found: Counter[str] = Counter()
    with service("--cache-entries", "0") as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=HUNG_S) as client:
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

            async def restarted(times: int) -> bool:
                page = (await client.get("/metrics")).text
                return f"rubricd_engine_restarts_total {times}.0" in page

            async def right_again() -> None:
                enough = found["ok"] + 60
                await until(lambda: found["ok"] >= enough or any(caller.done() for caller in callers))

            callers = [asyncio.create_task(ask()) for _ in range(8)]
            for kills in (1, 2, 3):
                await right_again()
                killed = judge_of(running)
                killed.kill()
                async with asyncio.timeout(HUNG_S):
                    while not await restarted(kills):
                        await asyncio.sleep(0.05)
                assert judge_of(running).pid != killed.pid
            await right_again()
            ended.set()
            await asyncio.wait_for(asyncio.gather(*callers), HUNG_S)
            assert await restarted(3)
    assert {"ok", "engine_error", "refused"} <= set(found) <= {"ok", "engine_error", "refused", "overloaded"}, found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_service(number: signal.Signals) -> None:
    with service() as running:
        judge = judge_of(running)
        assert has_torch(judge) and not has_torch(psutil.Process(running.process.pid))
        os.kill(running.process.pid, number)
        wait_until(lambda: not runs(judge.pid))
        assert running.process.wait(timeout=HUNG_S) == (0 if number == signal.SIGTERM else -number)
