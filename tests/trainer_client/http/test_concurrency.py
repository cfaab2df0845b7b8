import asyncio
import random

import pytest

from testkit.waiting import HUNG_S
from trainer_client.http.concurrency import Throttle


async def filled(most: int, under_way: int) -> tuple[Throttle, int]:
    throttle = Throttle(most)
    for _ in range(under_way):
        entered = await throttle.enter()
    return throttle, entered


async def test_a_round_trip_halves_once_however_much_of_it_failed() -> None:
    throttle, entered = await filled(8, 8)
    for _ in range(8):
        throttle.cut(entered)
        throttle.leave()
    assert throttle.limit == 4.0
    later = await throttle.enter()
    throttle.cut(later)
    assert throttle.limit == 2.0


async def test_it_never_falls_below_one_and_never_grows_above_the_most() -> None:
    throttle = Throttle(8)
    for _ in range(10):
        throttle.cut(await throttle.enter())
        throttle.leave()
    assert throttle.limit == 1.0
    grown = 0
    while throttle.limit < 8.0:
        throttle.grow()
        grown += 1
    assert 28 <= grown <= 36, "about n successes from n to n + 1"
    throttle.grow()
    assert throttle.limit == 8.0


async def test_who_waits_is_let_in_in_order_and_only_into_what_room_is_left() -> None:
    throttle, entered = await filled(4, 4)
    admitted: list[int] = []

    async def wait(n: int) -> None:
        await throttle.enter()
        admitted.append(n)

    tasks = [asyncio.create_task(wait(n)) for n in range(4)]
    await asyncio.sleep(0)
    throttle.cut(entered)  # room for two from now on
    for left, seen in ((4, []), (3, []), (2, []), (1, [0]), (1, [0, 1])):
        await asyncio.sleep(0)
        assert admitted == seen, left
        throttle.leave()
    await asyncio.sleep(0)
    assert admitted == [0, 1, 2] and throttle.under_way == 2
    throttle.leave()
    await asyncio.gather(*tasks)


async def test_growing_lets_in_who_waits() -> None:
    throttle, entered = await filled(2, 1)
    throttle.cut(entered)
    waiting = asyncio.create_task(throttle.enter())
    await asyncio.sleep(0)
    assert throttle.under_way == 1
    throttle.grow()
    await asyncio.wait_for(waiting, HUNG_S)
    assert throttle.under_way == 2


@pytest.mark.parametrize("when", ["while it waits", "as it is admitted"])
async def test_who_is_called_off_takes_no_room(when: str) -> None:
    throttle, _ = await filled(1, 1)
    first, second = (asyncio.create_task(throttle.enter()) for _ in range(2))
    await asyncio.sleep(0)
    if when == "as it is admitted":
        throttle.leave()
        first.cancel()
    else:
        first.cancel()
        throttle.leave()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(second, HUNG_S)
    assert throttle.under_way == 1


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_events_keeps_the_bounds(seed: int) -> None:
    dice, throttle, most = random.Random(seed), Throttle(6), 0

    async def one() -> None:
        nonlocal most
        entered = await throttle.enter()
        most = max(most, throttle.under_way)
        try:
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            throttle.grow() if dice.random() < 0.5 else throttle.cut(entered)
        finally:
            throttle.leave()

    tasks = [asyncio.create_task(one()) for _ in range(300)]
    for _ in range(40):
        await asyncio.sleep(0)
        dice.choice(tasks).cancel()
    await asyncio.wait(tasks)
    assert throttle.under_way == 0 and 1 <= throttle.limit <= 6 and most <= 6
