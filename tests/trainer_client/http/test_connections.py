import asyncio
import threading

import httpx

from testkit.waiting import HUNG_S
from trainer_client.http.connections import Connections, ConnectionsByLoop


def _opened() -> tuple[ConnectionsByLoop, list[httpx.AsyncClient]]:
    pools: list[httpx.AsyncClient] = []

    def open_http() -> httpx.AsyncClient:
        pools.append(httpx.AsyncClient())
        return pools[-1]

    return ConnectionsByLoop(open_http, 4), pools


async def test_a_loop_opens_its_connections_once() -> None:
    by_loop, pools = _opened()
    found = await asyncio.gather(*(by_loop.here() for _ in range(20)))
    assert len(pools) == 1 and all(one is found[0] for one in found)
    await by_loop.aclose()
    await by_loop.aclose()
    assert pools[0].is_closed
    assert (await by_loop.here()).http is pools[1] and not pools[1].is_closed
    await by_loop.aclose()


def test_the_end_of_a_loop_closes_its_connections_and_no_others() -> None:
    by_loop, pools = _opened()
    inside, ended = threading.Event(), threading.Event()

    async def stay() -> bool:
        here = await by_loop.here()
        inside.set()
        await asyncio.to_thread(ended.wait, 10)
        return here.http.is_closed

    still: list[bool] = []
    thread = threading.Thread(target=lambda: still.append(asyncio.run(stay())))
    thread.start()
    assert inside.wait(HUNG_S)

    async def here() -> Connections:
        return await by_loop.here()

    found = [asyncio.run(here()) for _ in range(3)]
    ended.set()
    thread.join()
    assert still == [False]
    assert len({id(one.http) for one in found}) == 3 and len(pools) == 4
    assert all(pool.is_closed for pool in pools)
