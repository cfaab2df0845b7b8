"""Pairs in batches: one outcome each, in order, whatever becomes of their requests."""

import random
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import (
    FINGERPRINT,
    Json,
    ManualClock,
    Service,
    answered,
    chance,
    judge_info,
    preferences,
    problem,
)
from trainer_client.client import Compared, Failed, JudgeClient
from trainer_client.errors import ContractError, InvalidRequest, JudgeMismatch, Unavailable


def pairs(count: int) -> list[Json]:
    return [{"prompt": f"p{n % 3}", "a": f"good {n}", "b": f"bad {n}"} for n in range(count)]


def expected(pair: Json) -> float:
    def of(text: str) -> float:
        return chance(pair["prompt"], None, None, text)

    return 0.5 + (of(pair["a"]) - of(pair["b"])) / 2


def client_of(service: Service, **settings: Any) -> JudgeClient:
    manual = ManualClock()
    return JudgeClient(
        "http://judge", transport=service.transport, clock=manual.clock, rng=random.Random(0), **settings
    )


async def test_each_pair_has_its_own_outcome_however_the_list_is_cut() -> None:
    listed = pairs(50)
    for batch in (1, 7, 50):
        service = Service()
        heard: dict[int, Compared | Failed] = {}
        found = await client_of(service, batch_items=batch).compare(listed, on_outcome=heard.__setitem__)
        assert [one.comparison.p for one in found if isinstance(one, Compared)] == list(map(expected, listed))
        assert [one.id for one in found] == [str(n) for n in range(50)]
        assert [heard[n] for n in range(50)] == found
        assert len(service.bodies) == -(-50 // batch)


async def test_no_pairs_are_no_request_and_what_cannot_be_sent_is_said_at_once() -> None:
    service = Service()
    client = client_of(service)
    assert await client.compare([]) == []
    with pytest.raises(ValueError, match="b"):
        await client.compare([{"prompt": "p", "a": "x"}])
    with pytest.raises(TypeError, match="unknown options: aggregation"):
        await client.compare(pairs(1), aggregation="mean")  # type: ignore[call-arg]
    assert service.bodies == []


async def test_a_refused_pair_fails_alone() -> None:
    def refuses(body: Json) -> httpx.Response:
        for n, item in enumerate(body["items"]):
            if item["a"] == "good 3":
                return problem("invalid_request", 422, errors=[{"loc": ["items", n, "a"], "msg": "no"}])
        return answered(preferences(body))

    service = Service()
    service.compares = refuses
    found = await client_of(service).compare(pairs(8))
    [failed] = [one for one in found if isinstance(one, Failed)]
    assert (failed.id, type(failed.error)) == ("3", InvalidRequest)
    assert failed.error.errors == ((("items", 3, "a"), "no"),)  # type: ignore[attr-defined]
    assert len(service.bodies) == 2


async def test_a_lone_surrogate_fails_its_pair_and_a_large_body_is_halved() -> None:
    def small(body: Json) -> httpx.Response:
        return problem("too_large", 413) if len(body["items"]) > 2 else answered(preferences(body))

    service = Service()
    service.compares = small
    found = await client_of(service).compare([*pairs(5), {"prompt": "p", "a": "\ud800", "b": ""}])
    assert [type(one) for one in found] == [Compared] * 5 + [Failed]


async def test_an_unavailable_judge_is_a_failure_of_every_pair_or_is_waited_for() -> None:
    service = Service()
    service.compares = lambda body: problem("unavailable", 503)
    found = await client_of(service).compare(pairs(3))
    assert all(isinstance(one, Failed) and isinstance(one.error, Unavailable) for one in found)

    calls = 0

    def later(body: Json) -> httpx.Response:
        nonlocal calls
        calls += 1
        return problem("unavailable", 503) if calls < 20 else answered(preferences(body))

    service.compares = later
    waited = await client_of(service).compare(pairs(3), wait_for_judge_s=3600)
    assert all(isinstance(one, Compared) for one in waited)


async def test_a_preference_that_is_missing_for_the_moment_is_asked_again_where_the_call_waits() -> None:
    def busy(body: Json) -> httpx.Response:
        whole = preferences(body)
        if len(service.bodies) == 1:
            whole["results"][1] |= {"status": "overloaded", "p": None, "p_raw": None}
        return answered(whole)

    service = Service()
    service.compares = busy
    found = await client_of(service).compare(pairs(3), wait_for_judge_s=60)
    assert [len(body["items"]) for body in service.bodies] == [3, 1]
    assert [one.attempts for one in found if isinstance(one, Compared)] == [1, 2, 1]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: whole["results"].pop(),
        lambda whole: whole["results"][0].update(id="other"),
        lambda whole: whole["results"][0].update(p=None),
        lambda whole: whole["results"][0].update(status="abstained"),
        lambda whole: whole["results"][0].update(p=1.5),
        lambda whole: whole["judge"].update(fingerprint="another"),
    ],
)
async def test_an_answer_that_is_not_to_the_request_is_used_for_no_pair(spoil: Any) -> None:
    def wrong(body: Json) -> httpx.Response:
        whole = preferences(body)
        spoil(whole)
        return answered(whole)

    service = Service()
    service.compares = wrong
    found = await client_of(service).compare(pairs(2), expect_judge=FINGERPRINT)
    assert all(isinstance(one, Failed) and isinstance(one.error, ContractError) for one in found)


async def test_addresses_of_two_judges_compare_nothing() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/judge":
            info = judge_info()
            own = {**info["judges"][0], "mode": "compare", "fingerprint": f"of {request.url.host}"}
            return answered({**info, "compare": {"judge": own}})
        return answered(preferences({"items": []}))

    two = JudgeClient(["http://a", "http://b"], transport=httpx.MockTransport(respond))
    found = await two.compare(pairs(2))
    assert all(isinstance(one, Failed) and isinstance(one.error, JudgeMismatch) for one in found)
