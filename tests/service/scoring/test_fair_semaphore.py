"""Turns at rendering: a few at a time, by team and weight, never lost."""

import asyncio
import random

import pytest

from service.clock import settle
from service.scheduling import Tenant
from service.scoring.fair_semaphore import Turns


async def take(turns: Turns, tenant: Tenant, order: list[str], go: asyncio.Event) -> None:
    async with turns.turn(tenant, 1):
        order.append(tenant.team)
        await go.wait()
        await asyncio.sleep(0)


async def order_of(turns: Turns, flows: list[Tenant]) -> list[str]:
    order: list[str] = []
    go = asyncio.Event()
    tasks = []
    for tenant in flows:
        tasks.append(asyncio.create_task(take(turns, tenant, order, go)))
        await settle(2)
    go.set()
    await asyncio.gather(*tasks)
    return order


async def test_a_small_team_is_not_behind_what_a_hog_has_waiting() -> None:
    order = await order_of(Turns(1), [Tenant("hog")] * 100 + [Tenant("small")])
    assert order.index("small") <= 2
    assert len(order) == 101


async def test_turns_go_by_weight_and_by_arrival_within_a_team() -> None:
    flows = [Tenant("one")] + [Tenant("three", 3.0), Tenant("one")] * 40
    order = (await order_of(Turns(1), flows))[1:]
    assert 28 <= order[:40].count("three") <= 32


async def test_no_more_than_so_many_at_a_time() -> None:
    turns, under_way, most = Turns(3), 0, 0

    async def work() -> None:
        nonlocal under_way, most
        async with turns.turn(Tenant("a"), 1):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    await asyncio.gather(*(work() for _ in range(50)))
    assert most == 3


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_is_cancelled_at_any_moment_loses_no_turn(seed: int) -> None:
    rng, turns, done = random.Random(seed), Turns(2), 0

    async def work(tenant: Tenant) -> None:
        nonlocal done
        async with turns.turn(tenant, rng.randint(1, 9)):
            for _ in range(rng.randint(0, 3)):
                await asyncio.sleep(0)
            done += 1

    tasks = [asyncio.create_task(work(Tenant(rng.choice("abc"), rng.choice((1.0, 3.0))))) for _ in range(200)]
    gone = rng.sample(tasks, 60)
    for task in gone:
        for _ in range(rng.randint(0, 2)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert done >= 140
    assert (turns._free, turns._lines, turns._shares.next()) == (2, {}, None)
