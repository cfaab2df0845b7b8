"""Callers that mean harm, on raw sockets: half-sent requests, floods of headers, slow bodies, answers left unread.

Each opens its connections, and says how they ended. They take nothing but sockets of this process, so that what a
victim loses is the server's doing.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

HALF_A_HEAD = b"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: "
_READ_BYTES = 1 << 16
_HOSTS = tuple(f"127.0.0.{n}" for n in range(2, 10))
"""Addresses of the loopback: to the server each is another client."""


@dataclass(slots=True)
class Outcome:
    """How connections ended: `statuses` has the HTTP status of each answer, 0 for an end without one; `open` is how
    many the server left open, and `last_s` when the last one ended, counted from the first."""

    statuses: Counter[int] = field(default_factory=Counter)
    open: int = 0
    last_s: float = 0.0
    sent_bytes: int = 0


Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Outcome], Awaitable[None]]


async def half_sent(port: int, connections: int, within_s: float, hosts: Sequence[str] = _HOSTS) -> Outcome:
    """Each connection sends half a request's headers, and then nothing."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outcome: Outcome) -> None:
        writer.write(HALF_A_HEAD)

    return await _each(port, connections, within_s, act, hosts)


async def silent(port: int, connections: int, within_s: float, hosts: Sequence[str] = _HOSTS) -> Outcome:
    """Each connection sends nothing at all."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outcome: Outcome) -> None:
        return

    return await _each(port, connections, within_s, act, hosts)


async def idle(port: int, connections: int, within_s: float, hosts: Sequence[str] = _HOSTS) -> Outcome:
    """Each connection asks for `/healthz`, reads the answer, and sends nothing more."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outcome: Outcome) -> None:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    return await _each(port, connections, within_s, act, hosts)


async def header_flood(
    port: int, connections: int, megabytes: int, within_s: float, one_header: bool = False
) -> Outcome:
    """Each connection sends so many megabytes of headers: many small ones, or one that does not end."""
    piece = b"a" * _READ_BYTES if one_header else b"x-flood: 0123456789\r\n" * (_READ_BYTES // 21)

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outcome: Outcome) -> None:
        writer.write(HALF_A_HEAD + (b"" if one_header else b"\r\n"))
        await _pour(writer, piece, megabytes, outcome)

    return await _each(port, connections, within_s, act, _HOSTS)


async def endless_body(port: int, connections: int, megabytes: int, within_s: float, path: str = "/healthz") -> Outcome:
    """Each connection sends so many megabytes of a chunked body, to a route that does not want one."""
    head = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode()
    piece = b"%x\r\n%s\r\n" % (_READ_BYTES, b"b" * _READ_BYTES)

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outcome: Outcome) -> None:
        writer.write(head)
        await _pour(writer, piece, megabytes, outcome)

    return await _each(port, connections, within_s, act, _HOSTS)


async def slow_body(
    port: int, connections: int, bytes_per_s: float, within_s: float, path: str = "/v1/score"
) -> Outcome:
    """Each connection declares a body of a megabyte and sends it at this rate, a tenth of a second's worth at a time,
    but one byte at least."""
    head = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1048576\r\n\r\n" % path.encode()
    piece = b" " * max(1, int(bytes_per_s / 10))

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outcome: Outcome) -> None:
        writer.write(head)
        while not writer.is_closing():
            await asyncio.sleep(len(piece) / bytes_per_s)
            writer.write(piece)
            outcome.sent_bytes += len(piece)

    return await _each(port, connections, within_s, act, _HOSTS)


async def unread_answers(port: int, connections: int, request: bytes, within_s: float) -> Outcome:
    """Each connection sends a request again and again, and reads none of the answers."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outcome: Outcome) -> None:
        transport = writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()
        while not writer.is_closing():
            writer.write(request)
            outcome.sent_bytes += len(request)
            await writer.drain()
            await asyncio.sleep(0.001)

    return await _each(port, connections, within_s, act, _HOSTS)


async def hold(port: int, connections: int, hosts: Sequence[str] = _HOSTS) -> "contextlib.AbstractContextManager[None]":
    """Connections that stay open, with nothing sent, until the context is left."""
    opened = [await _connect(port, hosts[n % len(hosts)]) for n in range(connections)]
    return _closing(opened)


@contextlib.contextmanager
def _closing(opened: Sequence[Connected]) -> Iterator[None]:
    try:
        yield
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def _each(port: int, connections: int, within_s: float, act: Act, hosts: Sequence[str]) -> Outcome:
    """Opens the connections, acts on each, and reads each to its end."""
    outcome, began_s = Outcome(), time.monotonic()
    tasks = [
        asyncio.create_task(_one(port, hosts[n % len(hosts)], within_s, act, outcome, began_s))
        for n in range(connections)
    ]
    await asyncio.gather(*tasks)
    return outcome


async def _one(port: int, host: str, within_s: float, act: Act, outcome: Outcome, began_s: float) -> None:
    answer = bytearray()
    try:
        reader, writer = await _connect(port, host)
    except OSError:
        outcome.statuses[0] += 1
        return
    acting = asyncio.create_task(_act(act, reader, writer, outcome))
    try:
        async with asyncio.timeout(max(0.0, within_s - (time.monotonic() - began_s))):
            while data := await reader.read(_READ_BYTES):
                answer += data[: 1024 - len(answer)]
    except TimeoutError:
        outcome.open += 1
        return
    except OSError:
        pass
    finally:
        acting.cancel()
        writer.transport.abort()
    outcome.last_s = max(outcome.last_s, time.monotonic() - began_s)
    outcome.statuses[int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0] += 1


async def _act(act: Act, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outcome: Outcome) -> None:
    with contextlib.suppress(OSError):
        await act(reader, writer, outcome)


async def _pour(writer: asyncio.StreamWriter, piece: bytes, megabytes: int, outcome: Outcome) -> None:
    for _ in range(megabytes * (1 << 20) // len(piece)):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)  # what the server answers is read meanwhile
        outcome.sent_bytes += len(piece)


async def _connect(port: int, host: str) -> Connected:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
