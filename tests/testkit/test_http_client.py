"""The client of the load tests."""

import asyncio

import pytest

from testkit.http_client import Client
from testkit.processes import Failed


async def test_the_client_keeps_its_connection_and_refuses_an_error() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for status in (b"200 OK", b"503 Busy"):
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append(head.split(b"\r\n")[0] + await reader.readexactly(4))
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, Client(server.sockets[0].getsockname()[1]) as client:
        assert await client.post("/a", b"body") == b"hello"
        with pytest.raises(Failed, match="/b answered 503: hello"):
            await client.post("/b", b"more")
    assert seen == [b"POST /a HTTP/1.1body", b"POST /b HTTP/1.1more"]
