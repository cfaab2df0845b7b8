"""A client with several addresses: where one fails another answers at once, and all scores are of one judge."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import (
    FINGERPRINT,
    Json,
    ManualClock,
    answered,
    expected_score,
    items,
    judge_info,
    problem,
    scores,
)
from trainer_client.client import Failed, JudgeClient, Scored, reward
from trainer_client.errors import JudgeMismatch
from trainer_client.http.retry import RetryPolicy

Answer = Callable[[], httpx.Response | Exception | None]


class Replicas:
    """Three addresses of a service. `fault[host]()` is what one answers in place of a score; None for the score."""

    def __init__(self) -> None:
        self.manual = ManualClock()
        self.fault: dict[str, Answer] = {}
        self.fingerprints = dict.fromkeys(("a", "b", "c"), FINGERPRINT)
        self.asked: list[str] = []
        self.told: list[Any] = []
        self.paths: list[str] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        self.paths.append(f"{host}{request.url.path}")
        fault = self.fault.get(host, lambda: None)()
        if isinstance(fault, Exception):
            raise fault
        if fault is not None:
            return httpx.Response(fault.status_code, headers=fault.headers, content=fault.content)
        if request.url.path.endswith("/v1/judge"):
            info = judge_info()
            for one in (info, *info["judges"]):
                one["fingerprint"] = self.fingerprints[host]
            return answered(info)
        if request.url.path.endswith("/readyz"):
            return httpx.Response(200)
        body: Json = json.loads(request.content)
        self.asked.append(host)
        self.told.append(body.get("expect_judge"))
        if body.get("expect_judge") not in (None, self.fingerprints[host]):
            return problem("judge_mismatch", 409)
        answer = scores(body)
        answer["judge"]["fingerprint"] = self.fingerprints[host]
        return answered(answer)

    def client(self, **more: Any) -> JudgeClient:
        return JudgeClient(
            ["http://a", "http://b/base/", "http://c"],
            transport=httpx.MockTransport(self),
            clock=self.manual.clock,
            batch_items=1,
            rng=random.Random(1),
            **more,
        )


def _prompts(count: int) -> list[Json]:
    return [{**one, "prompt": f"Question {n}?"} for n, one in enumerate(items(count))]


RIGHT = [expected_score(f"answer {n}") for n in range(60)]


async def test_prompts_are_spread_and_each_request_names_the_judge() -> None:
    replicas = Replicas()
    async with replicas.client() as client:
        outcomes = await client.score(_prompts(60))
    assert [reward(one) for one in outcomes] == RIGHT
    assert set(Counter(replicas.asked)) == {"a", "b", "c"} and set(replicas.told) == {FINGERPRINT}
    assert sum(path.endswith("/v1/judge") for path in replicas.paths) == 3, "each address is asked once, not each call"
    assert "b/base/v1/score" in replicas.paths


async def test_a_group_goes_to_one_address() -> None:
    replicas = Replicas()
    async with replicas.client() as client:
        await client.score(items(40))
    assert len(set(replicas.asked)) == 1


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        problem("unavailable", 503, retry_after="20"),
        problem("overloaded", 503, retry_after="90"),
        httpx.Response(502, text="<html>"),
    ],
    ids=["refused", "reset", "loading", "full", "proxy"],
)
async def test_where_one_address_fails_another_answers_at_once(fault: Any, waits: bool) -> None:
    replicas = Replicas()
    async with replicas.client() as client:
        await client.score(_prompts(1))
        replicas.fault["a"] = lambda: fault
        outcomes = await client.score(_prompts(60), wait_for_judge_s=600.0 if waits else None)
    assert [reward(one) for one in outcomes] == RIGHT
    assert not any(replicas.manual.slept), "nobody paused"
    found_out = sum(path.startswith("a/") for path in replicas.paths) - 1
    assert 1 <= found_out <= 8, "those that were under way found out"


async def test_an_address_that_is_back_is_used_again() -> None:
    replicas = Replicas()
    replicas.fault["a"] = lambda: httpx.ConnectError("refused") if replicas.manual.now < 1030.0 else None
    async with replicas.client() as client:
        await client.score(_prompts(30))
        assert "a" not in replicas.asked
        replicas.manual.now += 60.0
        await client.score(_prompts(30))
        assert "a" in replicas.asked


async def test_a_failover_is_paid_for_from_the_budget() -> None:
    """Where all fail a client adds no more than its budget, however many addresses it has."""
    replicas = Replicas()
    async with replicas.client(retry=RetryPolicy(burst=5.0), concurrency=40) as client:
        await client.judge()
        for host in "abc":
            replicas.fault[host] = lambda: problem("unavailable", 503)
        replicas.paths.clear()
        outcomes = await client.score(_prompts(40), expect_judge=FINGERPRINT)
    assert all(isinstance(one, Failed) and one.error.code == "unavailable" for one in outcomes)
    assert len(replicas.paths) == 40 + 5


async def test_an_outage_of_all_is_waited_for() -> None:
    replicas = Replicas()
    for host in "abc":
        replicas.fault[host] = lambda: problem("unavailable", 503) if replicas.manual.now < 1100.0 else None
    async with replicas.client() as client:
        outcomes = await client.score(_prompts(10), wait_for_judge_s=600.0)
    assert [reward(one) for one in outcomes] == RIGHT[:10]
    assert 100.0 <= replicas.manual.now - 1000.0 < 240.0


async def test_addresses_of_different_judges_are_refused_before_any_score() -> None:
    replicas = Replicas()
    replicas.fingerprints["c"] = "judge-2"
    async with replicas.client() as client:
        (outcome,) = await client.score(items(1))
        assert isinstance(outcome, Failed) and isinstance(outcome.error, JudgeMismatch)
        assert "http://a serves judge judge-1 and http://c serves judge-2" in str(outcome.error)
        with pytest.raises(JudgeMismatch):
            await client.score(items(1), wait_for_judge_s=60.0)
    assert replicas.asked == []


async def test_an_address_that_comes_back_with_another_judge_gives_no_score() -> None:
    """200 random runs: after the client knows its judge no score is another's, whatever the addresses do."""
    mixed = scored = 0
    for seed in range(200):
        rng, replicas = random.Random(seed), Replicas()
        async with replicas.client() as client:
            for _ in range(3):
                for outcome in await client.score(_prompts(6)):
                    if isinstance(outcome, Scored):
                        scored += 1
                        mixed += outcome.judge.fingerprint != FINGERPRINT
                host = rng.choice("abc")
                replicas.fingerprints[host] = rng.choice(["judge-2", FINGERPRINT])
                replicas.fault[rng.choice("abc")] = rng.choice([lambda: httpx.ConnectError("down"), lambda: None])
    assert mixed == 0 and scored > 2000


async def test_the_callers_judge_is_the_one_that_is_asked_for() -> None:
    replicas = Replicas()
    async with replicas.client() as client:
        await client.score(items(1), expect_judge=FINGERPRINT)
        assert not any(path.endswith("/v1/judge") for path in replicas.paths)
        assert await client.ready()
        for host in "abc":
            replicas.fault[host] = lambda: problem("unavailable", 503)
        assert not await client.ready()
        replicas.fault["b"] = lambda: None
        assert await client.ready()


def test_several_addresses_over_several_loops() -> None:
    replicas = Replicas()
    client = replicas.client()
    for _ in range(3):
        assert [reward(one) for one in asyncio.run(client.score(_prompts(5)))] == RIGHT[:5]
    with pytest.raises(ValueError, match="at least one url"):
        JudgeClient([])
