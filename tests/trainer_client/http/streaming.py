"""Answers in lines, right ones and ones that break, and a client that hears them."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import httpx

from testkit.scripted_judge import Json, ManualClock, Service, items
from trainer_client.client import Failed, JudgeClient, Outcome


def lines(body: Json, order: Sequence[int] | None = None) -> list[bytes]:
    """The right answer `scores(...)` in lines, the results in `order` of their places, then the last line."""
    results = body["results"]
    listed = [{**results[index], "index": index} for index in order or range(len(results))]
    end = {"done": True, "id": body["id"], "judge": body["judge"], "usage": body["usage"], "groups": None}
    return [json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in [*listed, end]]


def pieces(whole: bytes, rng: random.Random, count: int = 8) -> list[bytes]:
    """The same bytes, cut anywhere, also within a character."""
    cuts = sorted(rng.randrange(len(whole) + 1) for _ in range(count))
    return [whole[first:last] for first, last in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


class Stream(httpx.AsyncByteStream):
    """A body in pieces; then it breaks with `error`, or ends."""

    def __init__(self, parts: Iterable[bytes], error: Exception | None = None) -> None:
        self.parts = parts
        self.error = error
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            await asyncio.sleep(0)
            yield part
        if self.error is not None:
            raise self.error

    async def aclose(self) -> None:
        self.closed = True


def streamed(stream: httpx.AsyncByteStream | Iterable[bytes]) -> httpx.Response:
    headers = {"x-request-id": "req-1", "content-type": "application/x-ndjson"}
    body = stream if isinstance(stream, httpx.AsyncByteStream) else Stream(stream)
    return httpx.Response(200, stream=body, headers=headers)


def judging(service: Service, manual: ManualClock | None = None, **more: Any) -> JudgeClient:
    clock = (manual or ManualClock()).clock
    return JudgeClient("http://judge", transport=service.transport, clock=clock, rng=random.Random(0), **more)


async def all_of(client: JudgeClient, listed: list[Json], **more: Any) -> dict[int, Outcome]:
    """The outcomes by their places. Each came once, and no score is another response's."""
    came: dict[int, Outcome] = {}
    async for place, outcome in client.stream(listed, **more):
        assert place not in came
        came[place] = outcome
    return came


def codes(came: dict[int, Outcome]) -> list[str | None]:
    ordered = [came[place] for place in range(len(came))]
    return [outcome.error.code if isinstance(outcome, Failed) else None for outcome in ordered]


def group(*responses: str, **more: Any) -> Json:
    return {"prompt": "p", "responses": list(responses), "rubric": items(1)[0]["rubric"], **more}
