"""A few hold places at a time, by team and weight, and no place is lost."""

import asyncio
import random

import pytest

from service.clock import settle
from service.scheduling import Tenant
from service.scoring.rendering import FairSemaphore


async def take(semaphore: FairSemaphore, tenant: Tenant, order: list[str], go: asyncio.Event) -> None:
    await semaphore.acquire(tenant, 1)
    order.append(tenant.team)
    await go.wait()
    await asyncio.sleep(0)
    semaphore.release()


async def order_of(semaphore: FairSemaphore, tenants: list[Tenant]) -> list[str]:
    order: list[str] = []
    go = asyncio.Event()
    tasks = []
    for tenant in tenants:
        tasks.append(asyncio.create_task(take(semaphore, tenant, order, go)))
        await settle(2)
    go.set()
    await asyncio.gather(*tasks)
    return order


async def test_a_small_team_is_not_behind_what_a_noisy_neighbour_has_waiting() -> None:
    order = await order_of(FairSemaphore(1), [Tenant("noisy")] * 100 + [Tenant("small")])
    assert order.index("small") <= 2
    assert len(order) == 101


async def test_places_go_by_weight_and_by_arrival_within_a_team() -> None:
    tenants = [Tenant("one")] + [Tenant("three", 3.0), Tenant("one")] * 40
    order = (await order_of(FairSemaphore(1), tenants))[1:]
    assert 28 <= order[:40].count("three") <= 32


async def test_no_more_than_so_many_at_a_time() -> None:
    semaphore, under_way, most = FairSemaphore(3), 0, 0

    async def work() -> None:
        nonlocal under_way, most
        await semaphore.acquire(Tenant("a"), 1)
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        semaphore.release()

    await asyncio.gather(*(work() for _ in range(50)))
    assert most == 3


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_is_cancelled_at_any_moment_loses_no_place(seed: int) -> None:
    rng, semaphore, done = random.Random(seed), FairSemaphore(2), 0

    async def work(tenant: Tenant) -> None:
        nonlocal done
        await semaphore.acquire(tenant, rng.randint(1, 9))
        try:
            for _ in range(rng.randint(0, 3)):
                await asyncio.sleep(0)
            done += 1
        finally:
            semaphore.release()

    tasks = [asyncio.create_task(work(Tenant(rng.choice("abc"), rng.choice((1.0, 3.0))))) for _ in range(200)]
    gone = rng.sample(tasks, 60)
    for task in gone:
        for _ in range(rng.randint(0, 2)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert done >= 140
    assert semaphore.idle_places == 2
    # No team is left in the shares either: the next ones get their places as at the start.
    assert sorted(await order_of(semaphore, [Tenant(team) for team in "abcabc"])) == list("aabbcc")
    assert semaphore.idle_places == 2
