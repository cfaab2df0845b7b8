"""A client counts what its answers said that they cost, and the attempts that it made again."""

import httpx

from testkit.scripted_judge import Json, Service, answered, items, problem, scores, served
from tests.trainer_client.http.streaming import all_of, judging, lines, streamed
from trainer_client.client import ClientUsage, JudgeClient

USAGE = {
    "judgements": 6,
    "cache_hits": 5,
    "deduplicated": 4,
    "prompt_tokens": 300,
    "cached_tokens": 200,
    "completion_tokens": 1,
}


def _answer(body: Json) -> httpx.Response:
    return answered({**scores(body), "usage": USAGE})


async def test_the_answers_usage_is_summed() -> None:
    async with judging(Service(_answer), batch_items=2) as client:
        assert client.usage == ClientUsage()
        await client.score(items(4))
        before = client.usage
        assert before == ClientUsage(answers=2, **{name: 2 * number for name, number in USAGE.items()})
        await client.score(items(1))
        assert client.usage - before == ClientUsage(answers=1, **USAGE)
        assert before + (client.usage - before) == client.usage
    assert dict(client.usage.items())["prompt_tokens"] == 900


async def test_a_price_in_an_answer_is_no_fault() -> None:
    priced = Service(lambda body: answered({**scores(body), "usage": {**USAGE, "cost": 0.25}}))
    async with judging(priced) as client:
        await client.score(items(1))
        assert client.usage == ClientUsage(answers=1, **USAGE)


async def test_attempts_that_were_made_again_are_counted_and_cost_nothing_that_is_known() -> None:
    left = 2

    def answer(body: Json) -> httpx.Response:
        nonlocal left
        left -= 1
        return problem("overloaded", 503, retry_after="1") if left >= 0 else _answer(body)

    async with judging(Service(answer)) as client:
        await client.score(items(1))
        assert client.usage == ClientUsage(answers=1, retries=2, **USAGE)


async def test_an_answer_that_is_no_answer_costs_nothing_that_is_known() -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["results"][0]["id"] = "another"
        return answered(whole)

    async with judging(Service(answer)) as client:
        await client.score(items(1))
        assert client.usage == ClientUsage()


async def test_a_stream_is_counted_once_its_last_line_has_come() -> None:
    def stream(body: Json) -> httpx.Response:
        made = lines({**scores(body), "usage": USAGE})
        return streamed(made[:-1] if len(service.bodies) == 1 else made)

    service = Service(stream)
    async with judging(service) as client:
        assert len(await all_of(client, items(2))) == 2
        assert client.usage == ClientUsage(retries=1), "all results came, and the line that says what they cost did not"
        assert len(await all_of(client, items(3))) == 3
        assert client.usage == ClientUsage(answers=1, retries=1, **USAGE)


def test_the_client_without_asyncio_counts_too() -> None:
    with served(Service(_answer)) as url, JudgeClient.sync(url) as client:
        client.score(items(1))
        assert client.usage == ClientUsage(answers=1, **USAGE)
