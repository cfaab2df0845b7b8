"""Counts what a rolling restart costs a client whose balancer learns of it late, by a clock of the test's own."""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, get_args

import httpx
import pytest

from testkit.scripted_judge import SimulatedClock, answered, items, problem, scores
from trainer_client.cli.score import RETRIES
from trainer_client.client import Failed, JudgeClient, RetryPolicy

JUDGES_S, STARTS_S, PAUSE_S, AT_ONCE = 0.5, 20.0, 1.0, 24
WAITS_S = 600.0
SEEDS = range(2)

Balancer = Literal["connections", "requests", "pages", "pages by prompt"]
"""It sends connections to replicas, or requests; or it answers 502 by itself where it cannot reach one; or it does that
and sends a prompt to one replica."""


@dataclass
class Replica:
    """Refuses from `told_s` to `gone_s`; after that nothing listens there."""

    ready_s: float = -100.0
    told_s: float = float("inf")
    gone_s: float = float("inf")
    under_way: int = 0

    def serves(self, at_s: float) -> bool:
        return self.ready_s <= at_s < self.told_s


@dataclass
class Site:
    """Replicas behind a balancer that knows what they were `late_s` ago. Each is restarted in its turn: it is told to
    end, finishes what it has, is replaced, and the next one's turn comes when the balancer knows the new one."""

    balancer: Balancer
    replicas: int
    late_s: float
    time: SimulatedClock = field(default_factory=SimulatedClock)
    met: Counter[str] = field(default_factory=Counter)
    rolling: bool = True

    def __post_init__(self) -> None:
        self._all = [Replica() for _ in range(self.replicas)]
        self._idle: list[Replica] = []
        self._turn = 0

    async def roll(self) -> None:
        await self.time.sleep(2.0)
        for old in list(self._all):
            old.told_s = self.time.now
            await self.time.sleep(1.0)
            while old.under_way:
                await self.time.sleep(0.05)
            old.gone_s = self.time.now
            self._idle = [one for one in self._idle if one is not old]
            self._all.append(Replica(self.time.now + STARTS_S))
            await self.time.sleep(STARTS_S + self.late_s + 0.1)
        self.rolling = False

    def _chosen(self, key: str | None) -> Replica:
        if self._idle:
            return self._idle.pop()
        seen = [one for one in self._all if one.serves(self.time.now - self.late_s)]
        if self.balancer == "pages by prompt" and key is not None:
            return seen[int(key, 16) % len(seen)]
        self._turn += 1
        return seen[self._turn % len(seen)]

    async def handle(self, request: httpx.Request) -> httpx.Response:
        replica = self._chosen(request.headers.get("x-session-id"))
        if replica.serves(self.time.now):
            replica.under_way += 1
            await self.time.sleep(JUDGES_S)
            replica.under_way -= 1
            if self.balancer == "connections" and replica.serves(self.time.now):
                self._idle.append(replica)
            return answered(scores(json.loads(request.content)))
        await self.time.sleep(0.01)
        if self.time.now < replica.gone_s:
            self.met["refused"] += 1
            return problem("unavailable", 503, retry_after="1")
        self.met["gone"] += 1
        if self.balancer.startswith("pages"):
            return httpx.Response(502, text="Bad Gateway")
        raise httpx.ConnectError("refused")


async def lost_a_restart(
    balancer: Balancer,
    replicas: int,
    late_s: float,
    *,
    retry: RetryPolicy | None = None,
    waits_s: float | None = None,
) -> float:
    """How many of one client's requests fail for good while one replica is restarted, on average over all."""
    ended: Counter[str] = Counter()
    met: Counter[str] = Counter()
    for seed in SEEDS:
        site = Site(balancer, replicas, late_s)
        transport, rng = httpx.MockTransport(site.handle), random.Random(seed)
        client = JudgeClient(
            "http://judge", transport=transport, clock=site.time.clock, rng=rng, batch_items=1, retry=retry
        )

        async def train(client: JudgeClient = client, site: Site = site) -> None:
            step = 0
            while site.rolling:
                step += 1
                rows = [{**row, "prompt": f"prompt {step}, {n}"} for n, row in enumerate(items(AT_ONCE))]
                for outcome in await client.score(rows, wait_for_judge_s=waits_s):
                    ended[outcome.error.code if isinstance(outcome, Failed) else "scored"] += 1
                await site.time.sleep(PAUSE_S)

        await site.time.play(site.roll(), train())
        await client.aclose()
        met += site.met
    assert late_s < 1.0 or met["refused"] > 0
    print(f"{balancer}, {replicas} replicas, {late_s:g} s late: {dict(ended)}; on the way {dict(met)}")
    return (ended.total() - ended["scored"]) / (replicas * len(SEEDS))


@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize("balancer", get_args(Balancer))
async def test_a_call_that_waits_for_the_judge_loses_nothing(balancer: Balancer, replicas: int) -> None:
    assert await lost_a_restart(balancer, replicas, 10.0, waits_s=WAITS_S) == 0.0


@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize("balancer", ["connections", "requests"])
async def test_the_retries_of_rubricd_score_lose_nothing(balancer: Balancer, replicas: int) -> None:
    assert await lost_a_restart(balancer, replicas, 10.0, retry=RETRIES) == 0.0


@pytest.mark.parametrize("balancer", get_args(Balancer))
async def test_the_default_retries_lose_nothing_within_a_second(balancer: Balancer) -> None:
    assert await lost_a_restart(balancer, 2, 1.0) == 0.0


@pytest.mark.parametrize(
    ("balancer", "replicas", "late_s", "lost"),
    [("requests", 2, 3.0, 6), ("requests", 2, 10.0, 34), ("requests", 4, 10.0, 2), ("pages by prompt", 2, 10.0, 21)],
)
async def test_the_default_retries_lose_as_many_as_the_guide_says(
    balancer: Balancer, replicas: int, late_s: float, lost: float
) -> None:
    """docs/guide/client.md has the figures, so that who depends on the client's defaults knows what they are for."""
    assert await lost_a_restart(balancer, replicas, late_s) == pytest.approx(lost, rel=0.25, abs=1.0)
