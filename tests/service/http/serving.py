"""A server with small limits and a trivial app, in a thread of its own, and raw sockets to speak to it."""

import asyncio
import contextlib
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import uvloop

from service.http.connection_table import ConnectionTable
from service.http.limits import ConnectionLimits
from service.http.listener import open_listener
from service.http.server import HttpServer
from testkit.waiting import HUNG_S

LIMITS = ConnectionLimits(
    connections=50,
    connections_per_client=40,
    headers=20,
    header_bytes=4096,
    header_s=0.4,
    idle_s=0.4,
    stall_s=0.4,
    bytes_per_s=10_000,
    unread_bytes=1 << 20,
)
UNHURRIED: dict[str, Any] = {"header_s": HUNG_S, "idle_s": HUNG_S, "stall_s": HUNG_S}
"""For what is not about slow callers: a busy machine makes everybody slow."""
LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
BIG = 32 << 20


@dataclass
class Served:
    """`left` counts requests whose caller was seen to leave, `held` those that `/hold` has taken; `closed` has the
    reasons of closed connections."""

    port: int
    table: ConnectionTable
    closed: Counter[str]
    left: Counter[str] = field(default_factory=Counter)
    held: int = 0
    go: threading.Event = field(default_factory=threading.Event)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        answer = {
            "/hold": self._hold,
            "/stream": self._stream,
            "/big": self._big,
            "/refuse": self._refuse,
        }.get(scope["path"], self._echo)
        await answer(scope, receive, send)

    async def _echo(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left["echo"] += 1
                return
            body += message["body"]
            if not message["more_body"]:
                break
        await _answer(send, b"%s %s %s" % (scope["method"].encode(), scope["path"].encode(), body[:64]))

    async def _hold(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers when told to, unless the caller leaves."""
        await receive()
        self.held += 1
        leaving = asyncio.ensure_future(receive())
        while not self.go.is_set() and not leaving.done():
            await asyncio.sleep(0.005)
        if leaving.done():
            self.left["hold"] += 1
            return
        leaving.cancel()
        await _answer(send, b"held")

    async def _stream(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first\n", "more_body": True})
        leaving = asyncio.ensure_future(receive())
        while not self.go.is_set() and not leaving.done():
            await asyncio.sleep(0.005)
        self.left["stream"] += leaving.done()
        leaving.cancel()
        await send({"type": "http.response.body", "body": b"last\n"})

    async def _big(self, scope: Any, receive: Any, send: Any) -> None:
        await _answer(send, b"x" * BIG)

    async def _refuse(self, scope: Any, receive: Any, send: Any) -> None:
        await _answer(send, b"no", 413)


async def _answer(send: Any, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def served(loop: str = "uvloop", **limits: Any) -> Iterator[Served]:
    """The app, served while inside."""
    closed: Counter[str] = Counter()
    table = ConnectionTable(replace(LIMITS, **limits), lambda reason: closed.update([reason]))
    listener = open_listener("127.0.0.1", 0)
    running = Served(listener.getsockname()[1], table, closed)
    server = HttpServer(running.app, table)
    server.config.get_loop_factory = lambda: LOOPS[loop]  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield running
    finally:
        running.go.set()
        server.should_exit = server.force_exit = True
        thread.join(HUNG_S)
        assert not thread.is_alive()


@contextlib.contextmanager
def connected(served: Served, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", served.port), timeout=HUNG_S, source_address=(host, 0)) as connection:
        yield connection


def head(method: str = "GET", path: str = "/echo", *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode("latin-1")


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server ends the connection, however it does."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(1 << 16):
            found += data
    return found


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer with a Content-Length."""
    found = b""
    while b"\r\n\r\n" not in found:
        data = connection.recv(1)
        assert data, found
        found += data
    length = int(found.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return int(found[9:12]), body


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]
