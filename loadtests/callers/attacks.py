"""Carries out the attacks of one hostile caller over raw sockets, as one process beside the service.

Guarantees: an attack counts what it was answered, by status; no answer and a closed connection are named.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from testkit import attacks

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ANSWER_S = 100.0
_PAGE = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


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


def header_flood(megabytes: int) -> Attack:
    """So many megabytes of headers on one connection, without a key."""

    async def attack(target: Target) -> list[Answer]:
        return _ended(await attacks.header_flood(target.port, 1, megabytes, target.hold_s))

    return attack


def half_sent(connections: int) -> Attack:
    async def attack(target: Target) -> list[Answer]:
        return _ended(await attacks.half_sent(target.port, connections, target.hold_s))

    return attack


def silent(connections: int) -> Attack:
    async def attack(target: Target) -> list[Answer]:
        return _ended(await attacks.silent(target.port, connections, target.hold_s))

    return attack


def slow_bodies(connections: int) -> Attack:
    async def attack(target: Target) -> list[Answer]:
        return _ended(await attacks.slow_body(target.port, connections, 1.0, target.hold_s))

    return attack


def unread_answers(connections: int) -> Attack:
    """Each asks for a large page again and again."""

    async def attack(target: Target) -> list[Answer]:
        return _ended(await attacks.unread_answers(target.port, connections, _PAGE, target.hold_s))

    return attack


def _ended(outcome: attacks.Outcome) -> list[Answer]:
    """One answer a connection; `held` is one that the service has left open."""
    words = {status: str(status) if status else "closed" for status in outcome.statuses}
    ended = [Answer(words[status], outcome.last_s) for status in outcome.statuses.elements()]
    return ended + [Answer("held", outcome.last_s)] * outcome.open


def summary(answers: Sequence[Answer]) -> str:
    """How many of each outcome, and the longest time."""
    counts: dict[str, int] = {}
    for answer in answers:
        counts[answer.outcome] = counts.get(answer.outcome, 0) + 1
    told = ", ".join(f"{count} x {outcome}" if count > 1 else outcome for outcome, count in sorted(counts.items()))
    return f"{told}; {max((answer.seconds for answer in answers), default=0):.1f} s" if told else "nothing"
