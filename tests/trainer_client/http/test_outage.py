"""Counts what a service sees of its clients while it is down or crowded, by a clock of the test's own."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from testkit.scripted_judge import Json, SimulatedClock, answered, items, problem, scores
from trainer_client import wire
from trainer_client.client import JudgeClient, reward
from trainer_client.http.retry import RetryPolicy
from trainer_client.reward_client import JudgeConfig, RewardClient

CLIENTS, STEPS, ITEMS = 100, 9, 8
DOWN_FROM_S, DOWN_UNTIL_S = 10.0, 70.0


@dataclass
class Outage:
    """For a minute the service is gone or refuses. Each client asks for a few items, each in a request, every ten
    seconds."""

    refusal: httpx.Response | None
    time: SimulatedClock = field(default_factory=SimulatedClock)
    requests: set[str] = field(default_factory=set)
    attempts: int = 0

    async def handle(self, request: httpx.Request) -> httpx.Response:
        body: Json = json.loads(request.content)
        if DOWN_FROM_S <= self.time.now < DOWN_UNTIL_S:
            self.requests.add(body["items"][0]["prompt"] + body["items"][0]["id"])
            self.attempts += 1
            if self.refusal is None:
                raise httpx.ConnectError("refused")
            return httpx.Response(503, content=self.refusal.content, headers=self.refusal.headers)
        await self.time.sleep(0.2)
        return answered(scores(body))

    async def train(self, n: int) -> None:
        rng, transport = random.Random(n), httpx.MockTransport(self.handle)
        async with JudgeClient(
            "http://judge", transport=transport, clock=self.time.clock, rng=rng, batch_items=1
        ) as client:
            await self.time.sleep(rng.uniform(0.0, 10.0))
            for step in range(STEPS):
                await client.score(items(ITEMS, prompt=f"client {n}, step {step}, item "))
                await self.time.sleep(10.0)


@pytest.mark.parametrize(("retry_after", "slowed"), [(None, False), ("5", True)])
async def test_an_outage_of_a_minute_sees_no_storm(retry_after: str | None, slowed: bool) -> None:
    """`slowed`: by what the service asks for. None: it is gone."""
    outage = Outage(None if retry_after is None else problem("unavailable", 503, retry_after=retry_after))
    await outage.time.play(*(outage.train(n) for n in range(CLIENTS)))
    made = len(outage.requests)
    assert made > 7 * CLIENTS
    assert outage.attempts <= made + RetryPolicy().burst * CLIENTS
    # A pause that the service asks for lets clients ask for less, and the same few retries are more of less: then count
    # what they would have asked in a minute.
    assert outage.attempts <= 1.2 * (6 * ITEMS * CLIENTS if slowed else made)


LONG_S = 600.0


@dataclass
class LongOutage:
    """The service is gone from the start until `until_s`; `answer` makes its answers, each a fifth of a second long."""

    until_s: float = LONG_S + 1.0
    answer: Callable[[Json], httpx.Response] = lambda body: answered(scores(body))
    time: SimulatedClock = field(default_factory=SimulatedClock)
    tried_at: list[float] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    """After the first second: by then a client knows."""

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.tried_at.append(self.time.now)
        if self.time.now >= self.until_s:
            await self.time.sleep(0.2)
            return self.answer(json.loads(request.content))
        self.under_way += 1
        try:
            await self.time.sleep(0.01)
        finally:
            self.under_way -= 1
            if self.time.now > 1.0:
                self.most_under_way = max(self.most_under_way, self.under_way + 1)
        raise httpx.ConnectError("refused")

    def client(self, seed: int = 0) -> JudgeClient:
        transport = httpx.MockTransport(self.handle)
        return JudgeClient("http://judge", transport=transport, clock=self.time.clock, rng=random.Random(seed))

    def rewards(self, seed: int = 0) -> RewardClient:
        return RewardClient(JudgeConfig("http://judge", judge_timeout_s=LONG_S), self.client(seed))


def listed(count: int) -> list[wire.Item]:
    return [wire.Item.model_validate({**item, "id": f"i{n}"}) for n, item in enumerate(items(count))]


@pytest.mark.parametrize("seed", range(20))
async def test_waiting_for_a_judge_costs_at_most_twice_the_requests_of_giving_up(seed: int) -> None:
    """128 rollouts are 4 requests. A client that gives up adds its 8 retries; one that waits 10 minutes adds the one
    request at a time that finds out, whose pauses soon are half a minute to a minute."""
    alone, waiting = LongOutage(), LongOutage()
    async with alone.client(seed) as client:
        await alone.time.play(client.score(listed(128), deadline_s=LONG_S))
    await waiting.time.play(waiting.rewards(seed).score(listed(128)))
    print(f"an outage of {LONG_S:g} s: {len(alone.tried_at)} requests alone, {len(waiting.tried_at)} while waiting")
    assert len(alone.tried_at) == 12
    assert len(waiting.tried_at) <= 2 * len(alone.tried_at)
    assert waiting.most_under_way == 1
    assert LONG_S - 11 <= waiting.tried_at[-1] < LONG_S


async def test_many_calls_that_wait_make_no_more_requests_than_one() -> None:
    """As verl asks: 200 calls of one rollout each. As many as there are places find the judge unavailable."""
    outage = LongOutage()
    rewards = outage.rewards()
    await outage.time.play(*(rewards.score(listed(1)) for _ in range(200)))
    assert len(outage.tried_at) <= 8 + 24
    assert outage.most_under_way == 1


@pytest.mark.parametrize("until_s", [3.0, 30.0, 300.0, 585.0])
async def test_all_go_on_when_the_judge_is_back(until_s: float) -> None:
    outage = LongOutage(until_s)
    done: list[float] = []

    async def ask(rewards: RewardClient) -> None:
        outcomes = await rewards.score(listed(32))
        assert all(reward(outcome) is not None for outcome in outcomes)
        done.append(outage.time.now)

    rewards = outage.rewards()
    await outage.time.play(*(ask(rewards) for _ in range(12)))
    assert len(done) == 12
    assert max(done) < min(2 * until_s, until_s + 60.0) + 3.0


async def test_a_refusal_tells_the_others_that_the_judge_is_back() -> None:
    """Seven of eight calls hold an invalid item: most likely one of them finds out that the judge is back."""
    refusal = problem("invalid_request", 422)
    outage = LongOutage(300.0, lambda body: refusal if body["items"][0]["id"] == "bad" else answered(scores(body)))
    rewards = outage.rewards()
    bad = [item.model_copy(update={"id": "bad"}) for item in listed(1)]

    async def ask() -> None:
        (outcome,) = await rewards.score(listed(1))
        assert reward(outcome) is not None
        assert outage.time.now < 300.0 + 60.0 + 3.0

    await outage.time.play(*(rewards.score(bad) for _ in range(7)), ask())


async def test_one_item_that_is_never_judged_does_not_hold_up_the_others() -> None:
    """Its own pauses grow, and the client knows all the while that a judge answers."""
    ended: list[float] = []

    def answer(body: Json) -> httpx.Response:
        said = scores(body)
        if body["items"][0]["response"] == "answer 0":
            (result,) = said["results"]
            result["criteria"][0] |= {"status": "engine_error", "met": None, "p": None, "p_raw": None}
            result |= {"status": "partial", "score": None, "coverage": 0.5}
        return answered(said)

    service = LongOutage(until_s=-1.0, answer=answer)
    rewards = service.rewards()

    async def ask_for_others() -> None:
        for step in range(20):
            await rewards.score(listed(64)[1:])
            ended.append(service.time.now - 30.0 * step)
            await service.time.sleep(30.0 * (step + 1) - service.time.now)

    await service.time.play(rewards.score(listed(1)), ask_for_others())
    assert max(ended) < 1.0
    own = len(service.tried_at) - 20 * 2
    assert 10 < own <= 24


async def test_a_cancelled_call_leaves_the_line() -> None:
    outage = LongOutage(until_s=100.0)
    rewards = outage.rewards()
    calls = [asyncio.create_task(rewards.score(listed(1))) for _ in range(3)]

    async def cancel() -> None:
        await outage.time.sleep(20.0)
        for call in calls[:2]:
            call.cancel()

    await outage.time.play(cancel(), asyncio.wait(calls))
    assert [call.cancelled() for call in calls] == [True, True, False]
    (outcome,) = calls[2].result()
    assert reward(outcome) is not None


@pytest.mark.parametrize(
    ("until_s", "said"),
    [
        (0.2, []),
        (300.0, ["no judge answers; calls wait for one: cannot connect to judge", "a judge answers again"]),
        (LONG_S + 1.0, ["no judge answers; calls wait for one: cannot connect to judge"]),
    ],
)
async def test_a_long_outage_is_logged_once_and_its_end(
    until_s: float, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    outage = LongOutage(until_s)
    rewards = outage.rewards()
    await outage.time.play(*(rewards.score(listed(32)) for _ in range(12)))
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == said
