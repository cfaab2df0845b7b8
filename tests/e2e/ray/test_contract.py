"""The contract, asked through Ray's proxy. What can be asked over HTTP is the very tests of tests/contract."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from testkit.apps import item
from testkit.ray.nodes import HOLDS, WAIT_S, Nodes
from testkit.ray.nodes import client as client_of
from testkit.teams_file import auth
from testkit.waiting import HUNG_S
from tests.contract.test_strict_input import (
    test_a_body_for_another_system_is_told_so,
    test_a_slip_is_refused_at_its_place,
    test_any_json_in_any_place_is_200_or_422,
    test_other_routes_and_methods_answer_with_problems_too,
    test_what_is_not_json_of_the_contract_is_refused,
)
from trainer_client import wire

__all__ = [
    "test_a_body_for_another_system_is_told_so",
    "test_a_slip_is_refused_at_its_place",
    "test_any_json_in_any_place_is_200_or_422",
    "test_other_routes_and_methods_answer_with_problems_too",
    "test_what_is_not_json_of_the_contract_is_refused",
]

NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture
async def client(three: Nodes) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(three) as client:
        yield client


def fresh(n: int = 0, **changes: Any) -> dict[str, Any]:
    """A body that was never asked before."""
    return {"items": [item(prompt=f"Asked at {time.monotonic_ns()}, {n}.", **changes)]}


async def test_one_id_is_in_the_answer_and_in_its_header(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/score", json=fresh())
    assert answer.headers.get_list("x-request-id") == [answer.json()["id"]]
    named = await client.post("/v1/score", json={}, headers={"X-Request-Id": "0123456789abcdef0123456789abcdef"})
    assert named.json()["request_id"] == "0123456789abcdef0123456789abcdef"
    odd = await client.post("/v1/score", json={}, headers={"X-Request-Id": "my own\tname"})
    assert "my own" not in odd.text


async def test_a_body_over_the_limit_is_413(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/score", content=b" " * 20_000_000)
    assert answer.status_code == 413
    assert wire.Problem.model_validate_json(answer.content).detail.startswith("the body holds more than")


def large(n: int = 0) -> dict[str, Any]:
    """Some seconds of work for the slow judge, in many batches."""
    rubric = [{"text": f"Says {n} things.{' More.' * 600}", "points": 1} for n in range(8)]
    body = fresh(n, responses=[f"Answer {n}" for n in range(16)], rubric=rubric)
    body["items"][0].pop("response")
    return body


async def test_lines_come_while_the_rest_is_judged(client: httpx.AsyncClient) -> None:
    """A proxy that held lines back would give them all at once."""
    came: list[float] = []
    lines: list[dict[str, Any]] = []
    async with client.stream("POST", "/v1/score", json=large(), headers=NDJSON) as answer:
        async for line in answer.aiter_lines():
            came.append(time.monotonic())
            lines.append(json.loads(line))
    assert sorted(line["index"] for line in lines[:-1]) == list(range(16))
    assert lines[-1]["done"] is True
    assert came[-1] - came[0] > 0.2


async def test_a_caller_that_leaves_frees_its_place(three: Nodes, client: httpx.AsyncClient) -> None:
    there = three.replicas()

    def total(*lines: str) -> float:
        return sum(three.metric(replica, line) for replica in there for line in lines)

    judged, left = (
        'rubricd_prompt_tokens_total{source="computed"}',
        'rubricd_requests_total{route="/v1/score",status="499"}',
    )
    before = await asyncio.to_thread(total, judged)
    asking = [asyncio.create_task(client.post("/v1/score", json=large(n))) for n in range(4)]
    until = time.monotonic() + WAIT_S
    while (held := await asyncio.to_thread(total, *HOLDS)) < 100_000:
        assert time.monotonic() < until
        assert not any(task.done() for task in asking)
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    while await asyncio.to_thread(total, *HOLDS) > 0 or await asyncio.to_thread(total, left) < 2:
        assert time.monotonic() < until
    assert await asyncio.to_thread(total, judged) - before < held


async def test_a_key_is_answered_once_whichever_replica_is_asked(client: httpx.AsyncClient) -> None:
    body, key = fresh(), {"Idempotency-Key": f"key-{time.monotonic_ns()}"}
    first = await client.post("/v1/score", json=body, headers=key)
    again = [await client.post("/v1/score", json=body, headers=key) for _ in range(12)]
    assert {answer.content for answer in again} == {first.content}
    assert all(answer.headers["idempotency-replayed"] == "true" for answer in again)
    other = await client.post("/v1/score", json=fresh(), headers=key)
    assert other.status_code == 422


async def test_teams_are_told_apart_and_a_quota_holds_over_all_replicas(three: Nodes) -> None:
    async with httpx.AsyncClient(base_url=three.url, timeout=HUNG_S) as client:
        assert (await client.post("/v1/score", json=fresh())).status_code == 401
        assert (await client.get("/healthz")).status_code == 200
        told = await client.post("/v1/score", json=fresh(), headers=auth("b"))
        assert told.status_code == 403
        asked = [client.post("/v1/score", json={**fresh(n), "priority": "eval"}, headers=auth("b")) for n in range(20)]
        answers = await asyncio.gather(*asked)
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 2 + [429] * 18  # the refused one was one of its three
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)
