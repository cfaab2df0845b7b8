"""A client that costs next to nothing, so that it takes little from what it measures: HTTP/1.1 on kept connections.

Bodies are made before and read after the measuring; here they are bytes. `httpx` would take half a millisecond a call.
"""

import asyncio
from types import TracebackType
from typing import Self

from testkit.processes import Failed


class Client:
    """Posts to one server on the loopback; as many connections as calls at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, writer in self._idle:
            writer.close()

    async def post(self, path: str, body: bytes) -> bytes:
        """The answer's body. Raises Failed unless its status is 200."""
        reader, writer = self._idle.pop() if self._idle else await self._connect()
        try:
            writer.write(
                b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                % (path.encode(), len(body))
            )
            writer.write(body)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, length = head.partition(b"\r\ncontent-length:")
            answer = await reader.readexactly(int(length.partition(b"\r\n")[0] or 0))
        except (OSError, EOFError, ValueError) as error:
            writer.close()
            raise Failed(f"{path}: {type(error).__name__}: {error}") from error
        self._idle.append((reader, writer))
        status = int(head.split(maxsplit=2)[1])
        if status != 200:
            raise Failed(f"{path} answered {status}: {answer[:300].decode(errors='replace')}")
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
