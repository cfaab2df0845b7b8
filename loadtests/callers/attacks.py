"""Carries out the attacks of one hostile caller over raw sockets, as one process beside the service.

Guarantees: an attack counts what it was answered, by status; no answer and a closed connection are named.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from loadtests.callers import bodies

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ANSWER_S = 100.0
HEADER_BYTES = 8000


@dataclass(frozen=True, slots=True)
class Target:
    """Where the attack goes, and the attacker's key. An attack that holds something holds it for `hold_s` seconds."""

    port: int
    key: str
    hold_s: float = 6.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one connection: a status, or a word where there was none; and after how many seconds."""

    outcome: str
    seconds: float


Attack = Callable[[Target], Awaitable[list[Answer]]]


async def post(target: Target, body: bytes, path: str = "/v1/score", head: str = "") -> Answer:
    """One request on a connection of its own."""
    began_s = time.perf_counter()
    kind = "" if "content-type" in head.lower() else "Content-Type: application/json\r\n"
    lines = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nConnection: close\r\n{kind}{head}"
    lines += f"Authorization: Bearer {target.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    outcome = "no answer"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            outcome = await _answered(target, lines.encode() + body)
    return Answer(outcome, time.perf_counter() - began_s)


async def _answered(target: Target, content: bytes) -> str:
    try:
        async with connected(target) as (reader, writer):
            writer.write(content)
            # The answer may come before the body has gone, and the connection may close then.
            with contextlib.suppress(OSError):
                await writer.drain()
            line = await reader.readline()
            with contextlib.suppress(OSError):
                while await reader.read(1 << 20):
                    pass
        return line.split()[1].decode() if line else "closed"
    except OSError:
        return "closed"


@contextlib.asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Streams]:
    """Raises OSError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=1 << 20)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # what was not sent is not waited for
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def posting(body: Callable[[], bytes], *, at_once: int = 1, path: str = "/v1/score", head: str = "") -> Attack:
    """The same request, as often as this at once."""

    async def attack(target: Target) -> list[Answer]:
        content = body()
        return list(await asyncio.gather(*(post(target, content, path, head) for _ in range(at_once))))

    return attack


async def endless_headers(target: Target) -> list[Answer]:
    """400 MB of headers of one request, without a key."""
    began_s, sent = time.perf_counter(), 0
    outcome = "closed"
    with contextlib.suppress(OSError):
        async with connected(target) as (reader, writer):
            writer.write(b"POST /v1/score HTTP/1.1\r\nHost: x\r\n")
            while sent < 400 * bodies.MILLION and not reader.at_eof():
                lines = b"".join(b"X-%d: %b\r\n" % (sent + n, b"h" * HEADER_BYTES) for n in range(100))
                writer.write(lines)
                await writer.drain()
                sent += len(lines)
            outcome = "all taken" if sent >= 400 * bodies.MILLION else "closed"
            if line := await asyncio.wait_for(reader.readline(), 2):
                outcome = line.split()[1].decode()
    return [Answer(f"{outcome} after {sent / bodies.MILLION:.0f} MB", time.perf_counter() - began_s)]


def holding(connections: int, first: bytes, more: bytes = b"", every_s: float = 1.0, reads: bool = True) -> Attack:
    """So many connections, each with the same beginning of a request, and a little more of it every so often."""

    async def attack(target: Target) -> list[Answer]:
        begun = first.replace(b"KEY", target.key.encode())
        return list(await asyncio.gather(*(_hold(target, begun, more, every_s, reads) for _ in range(connections))))

    return attack


async def _hold(target: Target, first: bytes, more: bytes, every_s: float, reads: bool) -> Answer:
    began_s = time.perf_counter()
    outcome = "refused"
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(target.hold_s + 1), connected(target) as (reader, writer):
            outcome = "closed"
            writer.write(first)
            if not reads:
                writer.transport.pause_reading()  # type: ignore[attr-defined]
            while time.perf_counter() - began_s < target.hold_s:
                await _wait(reader, min(every_s, target.hold_s), reads)
                if writer.is_closing() or (reads and reader.at_eof()):
                    raise OSError
                writer.write(more)
            outcome = "held"
    return Answer(outcome, time.perf_counter() - began_s)


async def _wait(reader: asyncio.StreamReader, seconds: float, reads: bool) -> None:
    """Until the time is over, or the service has closed."""
    if not reads:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reader.read(-1), seconds)


def summary(answers: Sequence[Answer]) -> str:
    """How many of each outcome, and the longest time."""
    counts: dict[str, int] = {}
    for answer in answers:
        counts[answer.outcome] = counts.get(answer.outcome, 0) + 1
    told = ", ".join(f"{count} x {outcome}" if count > 1 else outcome for outcome, count in sorted(counts.items()))
    return f"{told}; {max((answer.seconds for answer in answers), default=0):.1f} s" if told else "nothing"
