"""A few hold places at a time, by team and weight, and no place is lost."""

import asyncio
import random

import pytest

from service.clock import settle
from service.scheduling import Tenant
from service.scoring.fair_places import FairPlaces


async def take(places: FairPlaces, tenant: Tenant, order: list[str], go: asyncio.Event) -> None:
    await places.acquire(tenant)
    order.append(tenant.team)
    await go.wait()
    await asyncio.sleep(0)
    places.release(tenant, 1)


async def order_of(places: FairPlaces, tenants: list[Tenant]) -> list[str]:
    order: list[str] = []
    go = asyncio.Event()
    tasks = []
    for tenant in tenants:
        tasks.append(asyncio.create_task(take(places, tenant, order, go)))
        await settle(2)
    go.set()
    await asyncio.gather(*tasks)
    return order


async def test_a_small_team_is_not_behind_what_a_noisy_neighbour_has_waiting() -> None:
    order = await order_of(FairPlaces(1), [Tenant("noisy")] * 100 + [Tenant("small")])
    assert order.index("small") <= 2
    assert len(order) == 101


async def test_places_go_by_weight_and_by_arrival_within_a_team() -> None:
    tenants = [Tenant("one")] + [Tenant("three", 3.0), Tenant("one")] * 40
    order = (await order_of(FairPlaces(1), tenants))[1:]
    assert 28 <= order[:40].count("three") <= 32


async def in_slices(places: FairPlaces, tenant: Tenant, slices: int, turns: list[str]) -> None:
    await places.acquire(tenant)
    for n in range(slices):
        turns.append(tenant.team)
        await asyncio.sleep(0)
        if n < slices - 1:
            await places.hand_on(tenant, 1)
    places.release(tenant, 1)


async def test_work_in_slices_lets_another_team_in_after_one_of_them() -> None:
    places, turns = FairPlaces(2), list[str]()
    large = [asyncio.create_task(in_slices(places, Tenant("large"), 500, turns)) for _ in range(2)]
    await settle(40)
    begun = len(turns)
    await in_slices(places, Tenant("tiny"), 1, turns)
    assert turns.index("tiny") - begun <= 2
    await asyncio.gather(*large)
    assert places.idle_places == 2


async def test_work_in_slices_is_shared_by_weight_and_within_a_team_by_turns() -> None:
    places, turns = FairPlaces(1), list[str]()
    tenants = [Tenant("one"), Tenant("three", 3.0)]
    await asyncio.gather(*(in_slices(places, tenant, 200, turns) for tenant in tenants))
    assert 140 <= turns[:200].count("three") <= 160
    order: list[str] = []
    names = [Tenant("a", 1.0), Tenant("a", 1.0)]

    async def named(name: str, tenant: Tenant, slices: int) -> None:
        await places.acquire(tenant)
        for n in range(slices):
            order.append(name)
            await asyncio.sleep(0)
            if n < slices - 1:
                await places.hand_on(tenant, 1)
        places.release(tenant, 1)

    await asyncio.gather(named("long", names[0], 100), named("short", names[1], 1))
    assert order.index("short") <= 2


async def test_no_more_than_so_many_at_a_time() -> None:
    places, under_way, most = FairPlaces(3), 0, 0

    async def work() -> None:
        nonlocal under_way, most
        await places.acquire(Tenant("a"))
        for _ in range(3):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            await places.hand_on(Tenant("a"), 1)
        places.release(Tenant("a"), 1)

    await asyncio.gather(*(work() for _ in range(50)))
    assert most == 3


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_is_cancelled_at_any_moment_loses_no_place(seed: int) -> None:
    rng, places, done = random.Random(seed), FairPlaces(2), 0

    async def work(tenant: Tenant) -> None:
        nonlocal done
        await places.acquire(tenant)
        held = True
        try:
            for _ in range(rng.randint(0, 3)):
                await asyncio.sleep(0)
                held = False
                await places.hand_on(tenant, rng.randint(1, 9))
                held = True
            done += 1
        finally:
            if held:
                places.release(tenant, rng.randint(1, 9))

    tasks = [asyncio.create_task(work(Tenant(rng.choice("abc"), rng.choice((1.0, 3.0))))) for _ in range(200)]
    gone = rng.sample(tasks, 60)
    for task in gone:
        for _ in range(rng.randint(0, 2)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert done >= 140
    assert places.idle_places == 2
