"""A request that is refused for some of its items: who fails, who does not, and what it costs to find out."""

import random
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from testkit.scripted_judge import Json, Service, answered, expected_score, items, problem, scores
from trainer_client import errors
from trainer_client.client import Failed, JudgeClient, Outcome, Scored, reward
from trainer_client.http.retry import Clock

Blame = Callable[[Json, set[str]], httpx.Response]


def named(body: Json, bad: set[str]) -> httpx.Response:
    """As this service refuses: every bad item by its place."""
    places = [
        {"loc": ["items", place, "rubric"], "msg": f"about {item['id']}"}
        for place, item in enumerate(body["items"])
        if item["id"] in bad
    ]
    return problem("invalid_request", 422, errors=places)


def first_named(body: Json, bad: set[str]) -> httpx.Response:
    whole = named(body, bad).json()
    return problem("invalid_request", 422, errors=whole["errors"][:1])


def unnamed(body: Json, bad: set[str]) -> httpx.Response:
    return problem("body_too_large", 413)


def by_a_proxy(body: Json, bad: set[str]) -> httpx.Response:
    return httpx.Response(413, text="<html>Request Entity Too Large</html>")


def refusing(bad: set[str], blame: Blame) -> Service:
    def answer(body: Json) -> httpx.Response:
        return blame(body, bad) if any(item["id"] in bad for item in body["items"]) else answered(scores(body))

    return Service(answer)


async def scored(service: Service, count: int) -> list[Outcome]:
    seen: list[int] = []
    async with JudgeClient("http://judge", transport=service.transport) as client:
        outcomes = await client.score(items(count), on_outcome=lambda place, outcome: seen.append(place))
    assert [outcome.id for outcome in outcomes] == [str(n) for n in range(count)]
    assert sorted(seen) == list(range(count)), "each outcome is handed out once"
    for outcome in outcomes:
        assert isinstance(outcome, Failed) or reward(outcome) == expected_score(f"answer {outcome.id}")
    return outcomes


def failed(outcomes: list[Outcome]) -> set[str]:
    return {outcome.id for outcome in outcomes if isinstance(outcome, Failed)}


@pytest.mark.parametrize(
    ("blame", "bad", "requests"),
    [
        # 64 items in two requests; what is above two is what it costs to find the bad ones.
        (named, set(), 2),
        (named, {"7"}, 3),
        (named, {"7", "8", "20"}, 3),
        (named, {"7", "40"}, 4),
        (first_named, {"7", "8", "20"}, 5),
        (unnamed, {"7"}, 12),
        (by_a_proxy, {"31"}, 12),
        (unnamed, {"6", "7"}, 12),
        (unnamed, {"0", "31"}, 20),
        (unnamed, {"7", "40"}, 22),
    ],
)
async def test_only_the_bad_items_fail_and_it_costs_so_many_requests(
    blame: Blame, bad: set[str], requests: int
) -> None:
    service = refusing(bad, blame)
    outcomes = await scored(service, 64)
    assert failed(outcomes) == bad
    assert len(service.bodies) == requests
    judged = Counter(
        item["id"]
        for body in service.bodies
        if not {one["id"] for one in body["items"]} & bad
        for item in body["items"]
    )
    assert set(judged.values()) == {1}, "what has a score is not asked for again"


async def test_each_is_told_what_was_said_of_it_in_the_callers_places() -> None:
    outcomes = await scored(refusing({"33", "40"}, named), 64)
    for place in (33, 40):
        outcome = outcomes[place]
        assert isinstance(outcome, Failed) and isinstance(outcome.error, errors.InvalidRequest)
        assert outcome.error.errors == ((("items", place, "rubric"), f"about {place}"),)
        assert (outcome.error.status, outcome.error.request_id, outcome.error.attempts) == (422, "req-9", 1)
        assert outcome.error.__traceback__ is None and outcome.error.__context__ is None


async def test_when_all_are_bad_it_costs_less_than_twice_each_alone() -> None:
    everyone = {str(n) for n in range(32)}
    for blame, requests in ((named, 1), (unnamed, 63), (first_named, 32)):
        service = refusing(everyone, blame)
        assert failed(await scored(service, 32)) == everyone
        assert len(service.bodies) == requests, blame


@pytest.mark.parametrize(
    "refusal",
    [
        problem("invalid_request", 422, errors=[{"loc": ["mode"], "msg": "no"}]),
        problem("invalid_request", 422, errors=[{"loc": ["items", 0], "msg": "no"}, {"loc": ["votes"], "msg": "no"}]),
        problem("judge_mismatch", 409),
        problem("unauthorized", 401),
        problem("internal", 500),
    ],
)
async def test_what_fewer_items_would_not_change_is_asked_once(refusal: httpx.Response) -> None:
    service = Service(lambda body: refusal)
    assert len(failed(await scored(service, 32))) == 32
    assert len(service.bodies) == 1


async def test_too_many_items_for_the_service_are_asked_for_in_halves() -> None:
    def answer(body: Json) -> httpx.Response:
        if len(body["items"]) > 10:
            return problem("invalid_request", 422, errors=[{"loc": ["items"], "msg": "at most 10 results"}])
        return answered(scores(body))

    service = Service(answer)
    assert not failed(await scored(service, 32))
    assert [len(body["items"]) for body in service.bodies] == [32, 16, 8, 8, 16, 8, 8]


async def test_a_group_that_is_refused_fails_whole_and_its_neighbours_do_not() -> None:
    service = refusing({"1"}, unnamed)
    group = {"prompt": "p", "responses": ["a", "b", "c"], "rubric": [{"text": "Is kind.", "points": 5}]}
    async with JudgeClient("http://judge", transport=service.transport) as client:
        outcomes = await client.score([group] * 3)
    assert [type(outcome) for outcome in outcomes] == [Scored] * 3 + [Failed] * 3 + [Scored] * 3
    assert [outcome.id for outcome in outcomes] == [f"{n}/{m}" for n in range(3) for m in range(3)]


@pytest.mark.parametrize("seed", range(5))
async def test_any_few_bad_items_are_the_ones_that_fail(seed: int) -> None:
    dice = random.Random(seed)
    bad = {str(n) for n in dice.sample(range(200), 12)}
    blame = dice.choice([named, first_named, unnamed])
    assert failed(await scored(refusing(bad, blame), 200)) == bad


async def test_a_deadline_ends_the_search() -> None:
    class Slow(Service):
        async def handle(self, request: httpx.Request) -> httpx.Response:
            clock[0] += 1.0
            return await super().handle(request)

    clock = [1000.0]
    service = Slow(refusing({"0"}, unnamed).answer)
    async with JudgeClient(
        "http://judge", transport=httpx.MockTransport(service.handle), clock=Clock(now=lambda: clock[0])
    ) as client:
        outcomes = await client.score(items(32), deadline_s=3.5)
    assert len(service.bodies) == 4
    codes = Counter(outcome.error.code for outcome in outcomes if isinstance(outcome, Failed))
    assert set(codes) == {"deadline_exceeded"} and sum(codes.values()) == 32
