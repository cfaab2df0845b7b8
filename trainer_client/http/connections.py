"""Keeps, for each event loop, the connections that a client has opened in it and the places of the calls under way.

Guarantees: a client may be used in one event loop after another, and in several at once: each has connections of its
own. They are closed by `aclose`, and otherwise with their loop where it ends as those of `asyncio.run` do.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import httpx

from trainer_client.http.concurrency import Throttle


@dataclass(frozen=True, slots=True)
class Connections:
    """What a client holds in one event loop. `line` is where calls wait for a judge that is unavailable."""

    http: httpx.AsyncClient
    places: asyncio.Semaphore
    throttle: Throttle
    line: asyncio.Lock
    keeper: AsyncGenerator[None, None]


class ConnectionsByLoop:
    """The connections of one client. `open_http` makes a pool; each loop has `concurrency` places."""

    def __init__(self, open_http: Callable[[], httpx.AsyncClient], concurrency: int) -> None:
        self._open_http = open_http
        self._concurrency = concurrency
        self._by_loop: dict[asyncio.AbstractEventLoop, Connections] = {}

    async def here(self) -> Connections:
        """The running loop's connections."""
        loop = asyncio.get_running_loop()
        found = self._by_loop.get(loop)
        return await self._open(loop) if found is None else found

    async def aclose(self) -> None:
        """Closes the running loop's connections. A later call opens new ones."""
        if (found := self._by_loop.pop(asyncio.get_running_loop(), None)) is not None:
            await found.keeper.aclose()

    async def _open(self, loop: asyncio.AbstractEventLoop) -> Connections:
        for other in list(self._by_loop):
            if other.is_closed():
                self._by_loop.pop(other, None)
        http = self._open_http()
        keeper = _closing(http)
        # It yields at once, so that no other task comes between; from now on the loop knows it and will close it.
        await anext(keeper)
        concurrency = self._concurrency
        made = Connections(http, asyncio.Semaphore(concurrency), Throttle(concurrency), asyncio.Lock(), keeper)
        self._by_loop[loop] = made
        return made


async def _closing(http: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    """Closes the pool when it is closed itself. An event loop that ends closes its generators while it still runs, and
    it tells nobody else."""
    try:
        yield
    finally:
        await http.aclose()
