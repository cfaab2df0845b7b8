"""Makes the requests to an overloaded service and the times when they are due: requests whose texts are their own,
over connections that cost the caller little: bytes are kept and read afterwards.

Guarantees: No two requests have a text in common but their criteria.
"""

import asyncio
import contextlib
import json
import math
import random
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from miniature.world.cases import evaluation

RESPONSES, CRITERIA, TEMPLATES = 16, 6, 8
VERDICTS = RESPONSES * CRITERIA
KEPT_S = 3.0
"""The server closes a connection that is idle for five."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with the time from sending to its last byte. `sent_late_s`: how long after it was due it was sent."""

    status: int
    retry_after: str | None
    body: bytes
    seconds: float
    sent_s: float
    sent_late_s: float = 0.0

    def due(self, at_s: float) -> "Reply":
        return replace(self, sent_late_s=self.sent_s - at_s)

    @property
    def statuses(self) -> list[str]:
        """Of its criteria; none where it was refused."""
        results = json.loads(self.body).get("results", [])
        return [criterion["status"] for result in results for criterion in result["criteria"]]

    @property
    def whole(self) -> bool:
        """Every criterion was judged; an abstention is a judgement."""
        return self.status == 200 and all(status in ("ok", "abstained") for status in self.statuses)

    @property
    def computed_tokens(self) -> int:
        """Returns what the judge computed for it, by the answer's own account."""
        usage = json.loads(self.body)["usage"]
        return int(usage["prompt_tokens"]) - int(usage["cached_tokens"])


class TeamClient:
    """One team's connections, as many as requests at a time. What it still waits for when it ends is left."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._head = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n".encode()
        self._idle: list[tuple[float, Streams]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, (_, writer) in self._idle:
            writer.close()
        for _, (_, writer) in self._idle:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def ask(self, number: int, deadline_ms: int | None) -> Reply:
        """Raises OSError or EOFError where there is no answer."""
        return await self.send("POST", "/v1/score", body(number, deadline_ms))

    async def send(self, method: str, path: str, asked: bytes) -> Reply:
        """Raises OSError or EOFError where there is no answer."""
        reader, writer = await self._connection()
        try:
            sent_s = time.perf_counter()
            head = b"%b %b %bContent-Length: %d\r\n\r\n" % (method.encode(), path.encode(), self._head, len(asked))
            writer.write(head + asked)
            status, headers = read_head(await reader.readuntil(b"\r\n\r\n"))
            answer = await reader.readexactly(int(headers["content-length"]))
        except BaseException:
            writer.close()
            raise
        ended_s = time.perf_counter()
        self._idle.append((ended_s, (reader, writer)))
        return Reply(status, headers.get("retry-after"), answer, ended_s - sent_s, sent_s)

    async def _connection(self) -> Streams:
        """The one used last, or a new one where the server may be about to close that."""
        while self._idle:
            since_s, streams = self._idle.pop()
            if time.perf_counter() - since_s < KEPT_S:
                return streams
            streams[1].close()
        return await asyncio.open_connection("127.0.0.1", self._port)


def read_head(head: bytes) -> tuple[int, dict[str, str]]:
    """The status, and the headers by lower-case name."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split(maxsplit=2)[1]), {name.lower(): value.strip() for name, _, value in pairs}


def _template(n: int) -> dict[str, Any]:
    """A prompt with its responses and criteria, from cases that the judge was not trained on; `@` is for a number."""
    cases = [evaluation(n, index) for index in range(RESPONSES)]
    criteria = {criterion.id: criterion for case in cases for criterion in case.criteria}
    return {
        "prompt": f"@ {cases[0].turns[-1][1]}",
        "responses": [f"@ {place} {case.response}" for place, case in enumerate(cases)],
        "rubric": {"criteria": [{"id": c.id, "text": c.text, "points": 1} for c in [*criteria.values()][:CRITERIA]]},
    }


_TEMPLATES = [json.dumps(_template(n)).encode() for n in range(TEMPLATES)]


def body(number: int, deadline_ms: int | None) -> bytes:
    """A request of VERDICTS questions that no other number asks."""
    item = _TEMPLATES[number % TEMPLATES].replace(b"@", b"%d" % number)
    deadline = b"" if deadline_ms is None else b', "deadline_ms": %d' % deadline_ms
    return b'{"items": [%b]%b}' % (item, deadline)


def evenly(rate: float, seconds: float, phase: float) -> list[float]:
    """Times within `seconds`, `rate` a second; the first after `phase` of a distance."""
    return [(n + phase) / rate for n in range(math.ceil(rate * seconds - phase))]


def randomly(rate: float, seconds: float, seed: str) -> list[float]:
    """Times within `seconds`, `rate` a second on average, each independent of the others."""
    rng, times = random.Random(seed), [0.0]
    while times[-1] < seconds:
        times.append(times[-1] + rng.expovariate(rate))
    return times[1:-1]
