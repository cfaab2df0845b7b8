"""The plainest of balancers: connections in turn to the processes whose `/readyz` answers 200, looked at ten times a
second. A connection waits while none is ready, and goes to the next process where one refuses it. What is on a
connection it never sees, so it retries nothing.
"""

import asyncio
import contextlib
import itertools
from types import TracebackType
from typing import Self

import httpx

from testkit.waiting import HUNG_S

_LOOK_S = 0.1
_ANSWER_S = 30.0
"""How long a process on a busy machine may take to say that it is ready; one that is gone refuses at once."""


class Balancer:
    """Each process is looked at by itself: a slow one holds up no other's look. `ready` is what was found last."""

    def __init__(self) -> None:
        self.ready: list[str] = []
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._turn = itertools.count()
        self._going: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        tasks = [*self._looks.values(), *self._going]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def add(self, url: str) -> None:
        """Returns when the process is ready."""
        self._looks[url] = asyncio.create_task(self._look(url))
        async with asyncio.timeout(HUNG_S):
            while url not in self.ready:
                await asyncio.sleep(0.01)

    def remove(self, url: str) -> None:
        self._looks.pop(url).cancel()
        self._found(url, is_ready=False)

    async def _look(self, url: str) -> None:
        async with httpx.AsyncClient(timeout=_ANSWER_S) as client:
            while True:
                self._found(url, is_ready=await _is_ready(client, url))
                await asyncio.sleep(_LOOK_S)

    def _found(self, url: str, *, is_ready: bool) -> None:
        others = [other for other in self.ready if other != url]
        self.ready = [*others, url] if is_ready else others

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._going.add(task)
        try:
            # Cancelled at the end, and the server that made this task would log it as an error.
            with contextlib.suppress(asyncio.CancelledError):
                await self._between(reader, writer)
        finally:
            self._going.discard(task)
            writer.close()

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await self._connection()
        with contextlib.suppress(OSError):
            try:
                pumps = [asyncio.create_task(_pump(reader, back)), asyncio.create_task(_pump(there, writer))]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                back.close()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a process that is ready; it waits for one."""
        while True:
            if self.ready:
                to = httpx.URL(self.ready[next(self._turn) % len(self.ready)])
                with contextlib.suppress(OSError):
                    return await asyncio.open_connection(to.host, to.port)
            await asyncio.sleep(0.01)


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/readyz")).status_code == 200
    except httpx.HTTPError:
        return False


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
