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

_LOOK_S = 0.1
_ANSWER_S = 30.0
"""How long a process on a busy machine may take to say that it is ready; one that is gone refuses at once."""


class Balancer:
    """`backends` may change at any time; `ready` is what was found at the last look."""

    def __init__(self) -> None:
        self.backends: list[str] = []
        self.ready: list[str] = []
        self._turn = itertools.count()
        self._going: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in (self._looking, *self._going):
            task.cancel()
        await asyncio.gather(self._looking, *self._going, return_exceptions=True)

    @property
    def url(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def until_ready(self, url: str) -> None:
        async with asyncio.timeout(60):
            while url not in self.ready:
                await asyncio.sleep(0.01)

    async def _look(self) -> None:
        while True:
            async with httpx.AsyncClient(timeout=_ANSWER_S) as client:
                urls = list(self.backends)
                are_ready = await asyncio.gather(*(_is_ready(client, url) for url in urls))
            self.ready = [url for url, is_ready in zip(urls, are_ready, strict=True) if is_ready]
            await asyncio.sleep(_LOOK_S)

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
