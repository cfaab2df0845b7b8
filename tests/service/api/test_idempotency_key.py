"""`Idempotency-Key`: the same bytes for the same body, and never another's."""

import asyncio
from typing import Any

import httpx
import pytest

from service.clock import ManualClock
from service.engine.fake import FakeEngine, Fault, FaultPlan
from testkit.apps import CANARIES, fake_settings, item, serving

OK: Fault = "ok"


async def ask(client: httpx.AsyncClient, key: str, response: str = "Rest.", **headers: str) -> httpx.Response:
    body = {"items": [item(response=response)]}
    return await client.post("/v1/score", json=body, headers={"Idempotency-Key": key, **headers})


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
async def test_the_same_bytes_come_back(accept: str) -> None:
    async with serving() as client:
        first = await ask(client, "a", Accept=accept)
        second = await ask(client, "a", Accept=accept)
        other = await ask(client, "b", Accept=accept)
    assert first.content == second.content != other.content
    assert first.headers["content-type"] == second.headers["content-type"] == accept
    assert (first.headers.get("idempotency-replayed"), second.headers["idempotency-replayed"]) == (None, "true")


async def test_another_body_is_422() -> None:
    async with serving() as client:
        await ask(client, "a")
        other = await ask(client, "a", "Run.")
    assert (other.status_code, other.json()["type"]) == (422, "urn:rubricd:problem:idempotency_key_reused")


async def test_while_the_first_is_being_answered_it_is_409_with_retry_after() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(script=(OK,) * CANARIES, batch_s=1.0), sleep=clock.sleep)
    settings = fake_settings(max_batch_tokens=1)
    async with serving(engine, clock=clock, settings=settings, canary_s=1.0) as client:
        first = asyncio.create_task(ask(client, "a"))
        while engine.calls <= CANARIES:
            await asyncio.sleep(0.001)
        running = await ask(client, "a")
        await clock.advance(5.0)
        assert (await first).status_code == 200
        assert (await ask(client, "a")).content == (await first).content
    assert (running.status_code, running.json()["type"]) == (409, "urn:rubricd:problem:still_running")
    assert int(running.headers["retry-after"]) >= 1


async def test_a_refusal_leaves_the_key_free() -> None:
    async with serving() as client:
        refused = await client.post("/v1/score", content=b"{}", headers={"Idempotency-Key": "a"})
        answered = await ask(client, "a")
    assert (refused.status_code, answered.status_code) == (422, 200)


async def test_a_caller_that_leaves_leaves_the_key_free() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(script=(OK,) * CANARIES, batch_s=1.0), sleep=clock.sleep)
    async with serving(engine, clock=clock, settings=fake_settings(max_batch_tokens=1), canary_s=1.0) as client:
        leaving = asyncio.create_task(ask(client, "a"))
        while engine.calls <= CANARIES:
            await asyncio.sleep(0.001)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        again = asyncio.create_task(ask(client, "a"))
        while not again.done():
            await asyncio.sleep(0.001)
            await clock.advance(1.0)
        assert again.result().status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "a b\tc", "caf\u00e9"])
async def test_a_key_that_is_none_is_refused(key: str) -> None:
    headers: Any = [(b"idempotency-key", key.encode("latin-1")), (b"content-type", b"application/json")]
    async with serving() as client:
        answer = await client.post("/v1/score", json={"items": [item()]}, headers=headers)
    assert answer.status_code == 422
