"""What a client does about failures: each fails its own items, and no score is invented."""

import asyncio
import json
import random
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import ManualClock, Service, answered, expected_score, items, problem, scores
from tests.trainer_client.test_client import judging
from trainer_client import errors
from trainer_client.client import Failed, JudgeClient, Outcome, Scored, reward
from trainer_client.http.retry import RetryPolicy

Json = dict[str, Any]


def _errors(outcomes: list[Outcome]) -> list[str | None]:
    return [outcome.error.code if isinstance(outcome, Failed) else None for outcome in outcomes]


async def test_a_request_that_fails_fails_its_own_items_only() -> None:
    def answer(body: Json) -> httpx.Response:
        bad = any(item["id"] == "5" for item in body["items"])
        place = {"loc": ["items", 1, "rubric"], "msg": "no"}
        return problem("invalid_request", 422, errors=[place]) if bad else answered(scores(body))

    async with judging(Service(answer), batch_items=4) as client:
        outcomes = await client.score(items(12))
    assert _errors(outcomes) == [None] * 5 + ["invalid_request"] + [None] * 6
    failed = outcomes[5]
    assert isinstance(failed, Failed) and isinstance(failed.error, errors.InvalidRequest)
    assert failed.error.errors == ((("items", 5, "rubric"), "no"),)
    assert (failed.error.request_id, failed.error.attempts) == ("req-9", 1)
    assert failed.error.__traceback__ is None and failed.error.__context__ is None


async def test_a_text_that_cannot_be_sent_fails_alone() -> None:
    listed = items(5)
    listed[2]["response"] = "half an emoji \ud83d"
    async with judging(Service()) as client:
        outcomes = await client.score(listed)
    assert _errors(outcomes) == [None, None, "invalid_request", None, None]
    assert reward(outcomes[4]) == expected_score("answer 4")


async def test_what_was_not_judged_has_no_reward_and_is_not_asked_again() -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["results"][0].update(score=None, status="partial", coverage=0.5)
        whole["results"][0]["criteria"][0].update(status="overloaded", met=None, p=None)
        return answered(whole)

    service = Service(answer)
    async with judging(service) as client:
        (outcome,) = await client.score(items(1))
    assert isinstance(outcome, Scored) and reward(outcome) is None
    assert len(service.bodies) == 1


async def test_one_deadline_for_everything() -> None:
    manual = ManualClock()

    def slow(body: Json) -> httpx.Response:
        manual.now += 3.0
        return answered(scores(body))

    service = Service(slow)
    async with judging(service, manual, batch_items=1, concurrency=1) as client:
        outcomes = await client.score(items(10), deadline_s=10.0)
    assert [body["deadline_ms"] for body in service.bodies] == [9750, 6750, 3750, 900]
    assert _errors(outcomes) == [None] * 4 + ["deadline_exceeded"] * 6


async def test_a_deadline_that_has_passed_is_an_outcome_and_no_call() -> None:
    service = Service()
    async with judging(service) as client:
        outcomes = await client.score(items(3), deadline_s=-1.0)
    assert _errors(outcomes) == ["deadline_exceeded"] * 3
    assert service.requests == []


async def test_another_judge_is_refused_by_either_side() -> None:
    async with judging(Service()) as client:
        assert _errors(await client.score(items(1), expect_judge="judge-2")) == ["contract"]
    async with judging(Service(lambda body: problem("judge_mismatch", 409))) as client:
        assert _errors(await client.score(items(1), expect_judge="judge-2")) == ["judge_mismatch"]


async def test_an_overload_that_passes_costs_nothing_but_time() -> None:
    manual = ManualClock()

    def answer(body: Json) -> httpx.Response:
        return problem("overloaded", 429, retry_after="2") if manual.now < 1004.0 else answered(scores(body))

    async with judging(Service(answer), manual, batch_items=1, concurrency=4) as client:
        outcomes = await client.score(items(200))
    assert _errors(outcomes) == [None] * 200


async def test_an_interruption_of_all_that_is_under_way_costs_nothing() -> None:
    asked: list[str] = []

    def answer(body: Json) -> httpx.Response:
        asked.append(body["items"][0]["id"])
        if len(asked) <= 8:
            raise httpx.RemoteProtocolError("the service restarts")
        return answered(scores(body))

    async with judging(Service(answer), batch_items=1) as client:
        assert _errors(await client.score(items(50))) == [None] * 50


async def test_an_outage_is_not_answered_with_a_storm() -> None:
    service = Service(lambda body: problem("unavailable", 503))
    async with judging(service, batch_items=1) as client:
        outcomes = await client.score(items(300))
    assert set(_errors(outcomes)) == {"unavailable"}
    assert 300 < len(service.bodies) <= 300 + RetryPolicy().burst


class Storm:
    """Answers wrongly in every way there is, most of the time."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.faults = [
            lambda body: problem("overloaded", 429, retry_after="0.5"),
            lambda body: problem("unavailable", 503, retry_after="1"),
            lambda body: problem("internal", 500),
            lambda body: httpx.Response(502, text="<html>bad gateway</html>"),
            lambda body: httpx.Response(200, content=b'{"id": "req", "resu'),
            lambda body: httpx.Response(200, text="OK"),
            self._fewer,
            self._swapped,
            self._nan,
            self._no_connection,
            self._cut_off,
        ]
        self.played: set[int] = set()

    def __call__(self, body: Json) -> httpx.Response:
        if self.rng.random() < 0.4:
            return answered(scores(body))
        fault = self.rng.randrange(len(self.faults))
        self.played.add(fault)
        return self.faults[fault](body)

    def _fewer(self, body: Json) -> httpx.Response:
        whole = scores(body)
        whole["results"].pop(self.rng.randrange(len(whole["results"])))
        return answered(whole)

    def _swapped(self, body: Json) -> httpx.Response:
        whole = scores(body)
        whole["results"][0]["id"], whole["results"][-1]["id"] = whole["results"][-1]["id"], whole["results"][0]["id"]
        return answered(whole)

    def _nan(self, body: Json) -> httpx.Response:
        whole = scores(body)
        self.rng.choice(whole["results"])["score"] = float("nan")
        return httpx.Response(200, content=json.dumps(whole).encode())

    def _no_connection(self, body: Json) -> httpx.Response:
        raise httpx.ConnectError("refused")

    def _cut_off(self, body: Json) -> httpx.Response:
        raise httpx.RemoteProtocolError("peer closed connection")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_no_score_is_invented_and_no_item_is_lost(seed: int) -> None:
    storm = Storm(seed)
    service = Service(storm)
    seen: list[int] = []
    async with judging(service, batch_items=3, retry=RetryPolicy(burst=40, share=0.5)) as client:
        outcomes = await client.score(items(900), on_outcome=lambda place, outcome: seen.append(place))
    assert len(storm.played) == len(storm.faults) and len(service.bodies) >= 300
    assert sorted(seen) == list(range(900))
    assert [outcome.id for outcome in outcomes] == [str(n) for n in range(900)]
    scored = [outcome for outcome in outcomes if isinstance(outcome, Scored)]
    assert 300 < len(scored) < 900
    assert [reward(outcome) for outcome in scored] == [expected_score(f"answer {outcome.id}") for outcome in scored]
    assert all(reward(outcome) is None for outcome in outcomes if isinstance(outcome, Failed))


async def test_a_cancelled_call_cancels_what_is_under_way() -> None:
    under_way = asyncio.Event()
    ended: list[str] = []

    async def silent(request: httpx.Request) -> httpx.Response:
        under_way.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(json.loads(request.content)["items"][0]["id"])
        raise AssertionError

    async with JudgeClient("http://judge", transport=httpx.MockTransport(silent), batch_items=1) as client:
        call = asyncio.create_task(client.score(items(20)))
        await under_way.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert 1 <= len(ended) <= 8
