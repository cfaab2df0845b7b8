"""Who runs when: small work at once, each team's large work one after the other, two teams side by side."""

import asyncio
import threading

import pytest

from service.api.bodies.worker_threads import WorkerThreads
from testkit.waiting import HUNG_S


async def test_small_work_runs_at_once_and_large_work_elsewhere() -> None:
    threads = WorkerThreads()
    here = threading.get_ident()
    assert await threads.run("a", threading.get_ident, small=True) == here
    assert await threads.run("a", threading.get_ident, small=False) != here


async def test_a_team_has_one_work_at_a_time_and_leaves_a_thread_to_others() -> None:
    threads = WorkerThreads()
    go, running, most = threading.Event(), [0], [0]

    def held() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        go.wait(HUNG_S)
        running[0] -= 1

    mine = [asyncio.create_task(threads.run("a", held, small=False)) for _ in range(5)]
    await asyncio.sleep(0)
    assert await threads.run("b", lambda: "done", small=False) == "done"
    go.set()
    await asyncio.gather(*mine)
    assert most == [1]


async def test_who_is_cancelled_keeps_the_teams_turn_until_the_thread_is_free() -> None:
    threads, begun, go = WorkerThreads(), threading.Event(), threading.Event()

    def held() -> None:
        begun.set()
        go.wait(HUNG_S)

    gone = asyncio.create_task(threads.run("a", held, small=False))
    await asyncio.to_thread(begun.wait)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    mine = asyncio.create_task(threads.run("a", go.is_set, small=False))
    await asyncio.sleep(0)
    assert await threads.run("b", lambda: "done", small=False) == "done"
    go.set()
    assert await mine, "the thread of the first one was still busy"
    assert await threads.run("a", lambda: 1, small=False) == 1


async def test_an_error_of_the_work_is_the_callers_and_frees_its_turn() -> None:
    threads = WorkerThreads()

    def fails() -> None:
        raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await threads.run("a", fails, small=False)
    assert await threads.run("a", lambda: 1, small=False) == 1
