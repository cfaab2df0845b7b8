"""What a service sees of its clients while it is down or crowded, by a clock of its own."""

import json
import random
from dataclasses import dataclass, field

import httpx
import pytest

from testkit.scripted_judge import Json, Timeline, answered, items, problem, scores
from trainer_client.client import JudgeClient
from trainer_client.http.retry import RetryPolicy

CLIENTS, STEPS, ITEMS = 100, 9, 8
DOWN_FROM_S, DOWN_UNTIL_S = 10.0, 70.0


@dataclass
class Outage:
    """For a minute the service is gone or refuses. Each client asks for a few items, each in a request, every ten
    seconds."""

    refusal: httpx.Response | None
    time: Timeline = field(default_factory=Timeline)
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
