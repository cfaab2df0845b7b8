"""NDJSON: a line a result as soon as it is there, a last line, and nothing held for who has left."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from service.clock import ManualClock, settle
from service.engine.fake import FakeEngine, Fault, FaultPlan
from testkit.apps import CANARIES, app_of, fake_settings, item, scorer_of, serving
from trainer_client import wire

NDJSON = {"Accept": "application/x-ndjson"}
OK: Fault = "ok"


def grouped(id: str, count: int) -> dict[str, Any]:
    one = item(id=id, responses=[f"Response {n} of {id}." for n in range(count)])
    del one["response"]
    return one


async def streamed(client: httpx.AsyncClient, *items: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    answer = await client.post("/v1/score", json={"items": items, **options}, headers=NDJSON)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_the_lines_say_what_the_whole_answer_says() -> None:
    async with serving() as client:
        *lines, end = await streamed(client, grouped("f", 2), item(id="one"), grouped("g", 3))
        whole = (
            await client.post("/v1/score", json={"items": [grouped("f", 2), item(id="one"), grouped("g", 3)]})
        ).json()
    results = [wire.StreamedResult.model_validate_json(json.dumps(line)) for line in lines]
    assert sorted(result.index for result in results) == [0, 1, 2, 3, 4, 5]
    for line in lines:
        place = line.pop("index")
        for mine, other in zip(line["criteria"], whole["results"][place]["criteria"], strict=True):
            assert (mine.pop("source"), other.pop("source")) == ("judge", "cache")
        assert line == whole["results"][place]
    last = wire.StreamEnd.model_validate_json(json.dumps(end))
    assert last.done is True
    assert last.judge.model_dump() == whole["judge"]
    assert last.usage.judgements == 12
    assert [group.model_dump() for group in last.groups or []] == whole["groups"]


async def test_a_streams_headers_say_how_long_rendering_took() -> None:
    """They go out before the first line, when no more is known of the times."""
    async with serving() as client:
        answer = await client.post("/v1/score", json={"items": [item()]}, headers=NDJSON)
    assert re.fullmatch(r"render;dur=\d+\.\d", answer.headers["server-timing"])


@pytest.mark.parametrize("body", [{"items": []}, {"items": [item()], "expect_judge": "another"}])
async def test_what_can_be_refused_is_refused_before_the_first_line(body: dict[str, Any]) -> None:
    async with serving() as client:
        answer = await client.post("/v1/score", json=body, headers=NDJSON)
    assert answer.status_code in (409, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_full_queue_refuses_a_stream_as_a_problem() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(script=(OK,) * CANARIES, rates={"hang": 1.0}), sleep=clock.sleep)
    settings = fake_settings(max_queued_tokens=100, max_batch_tokens=1, max_in_flight=1)
    async with serving(engine, clock=clock, settings=settings) as client:
        stuck = asyncio.create_task(client.post("/v1/score", json={"items": [item()]}))
        while engine.calls <= CANARIES:
            await asyncio.sleep(0.001)
        refused = await client.post("/v1/score", json={"items": [item(response="Another.")]}, headers=NDJSON)
        stuck.cancel()
    assert (refused.status_code, refused.json()["status"]) == (503, 503)


class Caller:
    """An ASGI caller that reads a stream as it comes, and may leave."""

    def __init__(self, app: Any, body: dict[str, Any]) -> None:
        self.lines: list[bytes] = []
        self.times: list[float] = []
        self.gone = asyncio.Event()
        self.breaks = False
        self._body = json.dumps(body).encode()
        self._sent = False
        self._app = app

    async def call(self, clock: ManualClock | None = None) -> None:
        headers = [(b"content-type", b"application/json"), (b"accept", b"application/x-ndjson")]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/v1/score",
            "raw_path": b"/v1/score",
            "query_string": b"",
            "headers": headers,
            "state": {},
        }

        async def receive() -> dict[str, Any]:
            if not self._sent:
                self._sent = True
                return {"type": "http.request", "body": self._body, "more_body": False}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if self.breaks:
                raise OSError("broken")
            if message["type"] == "http.response.body" and message["body"]:
                self.lines.append(message["body"])
                self.times.append(clock.now() if clock is not None else 0.0)

        await self._app(scope, receive, send)


async def test_a_connection_that_breaks_before_the_first_byte_frees_what_was_begun() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with serving(engine, clock=clock, settings=fake_settings(canary_every_s=0), canary_s=1.0) as client:
        scorer = scorer_of(client)
        caller = Caller(app_of(client), {"items": [item()]})
        caller.breaks = True
        with pytest.raises(OSError, match="broken"):
            await caller.call()
        assert (scorer._scheduler.queued_tokens, scorer.evaluator.flights) == (0, 0)


async def test_a_line_is_sent_when_its_result_is_there_not_at_the_end() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    settings = fake_settings(max_batch_tokens=1, max_in_flight=1)
    async with serving(engine, clock=clock, settings=settings, canary_s=1.0) as client:
        began = clock.now()
        caller = Caller(app_of(client), {"items": [item(id=str(n), response=f"Response {n}.") for n in range(3)]})
        calling = asyncio.create_task(caller.call(clock))
        while engine.calls <= CANARIES:
            await asyncio.sleep(0.001)
        await clock.advance(10.0)
        await calling
    assert [json.loads(line).get("index") for line in caller.lines] == [0, 1, 2, None]
    assert [round(at - began) for at in caller.times] == [2, 4, 6, 6]


async def test_who_leaves_a_stream_frees_queue_and_flights_200_of_200() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    settings = fake_settings(max_batch_tokens=1, max_in_flight=1, canary_every_s=0)
    async with serving(engine, clock=clock, settings=settings, canary_s=1.0) as client:
        scorer = scorer_of(client)
        for n in range(200):
            asked = engine.calls
            body = {"items": [item(id=str(k), response=f"Response {n} {k}.") for k in range(3)]}
            caller = Caller(app_of(client), body)
            calling = asyncio.create_task(caller.call())
            if n % 2:
                while engine.calls == asked:
                    await asyncio.sleep(0)
                await clock.advance(2.0)
                assert len(caller.lines) == 1
            caller.gone.set()
            await calling
            await settle()
            while scorer.evaluator.starting:
                await asyncio.sleep(0)
            assert (scorer._scheduler.queued_tokens, scorer.evaluator.flights) == (0, 0)
            await clock.advance(5.0)
