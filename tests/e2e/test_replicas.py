"""Two real processes of the service on one real Redis: nothing twice, nothing lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.metrics_page import page_of
from testkit.processes import Running, service
from testkit.teams_file import auth, team, write
from testkit.waiting import HUNG_S

RUBRIC = [{"text": f"Criterion number {n}.", "points": 1} for n in range(12)]
KEYS, REPLAYS = 1000, 5
AT_ONCE = 250


def body(n: int = 0) -> dict[str, Any]:
    return {"items": [{"prompt": "My knee hurts.", "response": f"Rest it. {n}", "rubric": RUBRIC}]}


@pytest.fixture
def replicas(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Running]]:
    """Each with the same teams and the same Redis."""
    monkeypatch.setenv("RUBRICD_REDIS_URL", redis_url)
    teams = write(tmp_path / "teams.json", team("a", quota={"concurrent_tokens": 100_000_000}))
    with ExitStack() as stack:
        flags = ["--engine", "fake", "--teams", str(teams), "--canary-every-s", "0"]
        for name in ("redis", "header", "idle", "stall"):
            flags += [f"--{name}-timeout-s", str(HUNG_S)]
        yield [stack.enter_context(service(*flags)) for _ in range(2)]


@asynccontextmanager
async def clients(replicas: list[Running]) -> AsyncIterator[list[httpx.AsyncClient]]:
    limits = httpx.Limits(max_connections=AT_ONCE)  # nobody waits for a connection: httpx takes long to give one
    async with (
        httpx.AsyncClient(base_url=replicas[0].url, timeout=None, limits=limits) as first,
        httpx.AsyncClient(base_url=replicas[1].url, timeout=None, limits=limits) as second,
    ):
        yield [first, second]


async def test_1000_identical_requests_over_two_processes_are_12_judgements(replicas: list[Running]) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        async with places:
            return await client.post("/v1/score", json=body(), headers=auth("a"))

    async with clients(replicas) as two:
        answers = await asyncio.gather(*(ask(two[n % 2]) for n in range(1000)))
        assert [answer.text for answer in answers if answer.status_code != 200] == []
        usages = [answer.json()["usage"] for answer in answers]
        verdicts = {tuple(c["p"] for c in answer.json()["results"][0]["criteria"]) for answer in answers}
        pages = [await page_of(client) for client in two]
    assert [page.named("rubricd_redis_faults_total") for page in pages] == [{}, {}]
    known = sum(page("rubricd_cache_hits_total") + page("rubricd_single_flight_joins_total") for page in pages)
    assert known == 12 * 999
    assert sum(page("rubricd_cache_misses_total") for page in pages) == 12
    there = ("rubricd_cache_hits_total", {"tier": "redis"}), ("rubricd_single_flight_joins_total", {"tier": "replica"})
    assert sum(page(name, **labels) for page in pages for name, labels in there) >= 12
    assert [page("rubricd_redis_up") for page in pages] == [1, 1]
    assert sum(usage["judgements"] for usage in usages) == 12
    assert sum(usage["cache_hits"] + usage["deduplicated"] for usage in usages) == 12 * 999
    assert len(verdicts) == 1


async def test_1000_keys_asked_5_times_each_with_a_kill_in_between_are_answered_once(replicas: list[Running]) -> None:
    """Who asks the dead replica turns to the other; every key ends with one execution, the same bytes for all."""
    async with clients(replicas) as two:
        dead = asyncio.Event()
        answered = 0

        async def ask(n: int, replay: int) -> bytes:
            nonlocal answered
            key = {"Idempotency-Key": f"key-{n}", **auth("a")}
            while True:
                at = two[1] if dead.is_set() else two[(n + replay) % 2]
                try:
                    answer = await at.post("/v1/score", json=body(n), headers=key)
                except httpx.TransportError as error:
                    assert at is two[0], repr(error)
                    await asyncio.sleep(0.1)
                    continue
                if answer.status_code == 200:
                    answered += 1
                    if answered == KEYS:
                        replicas[0].process.kill()
                        dead.set()
                    return answer.content
                assert answer.status_code == 409, answer.text
                await asyncio.sleep(float(answer.headers["retry-after"]))

        places = asyncio.Semaphore(AT_ONCE // REPLAYS)

        async def all_of(n: int) -> list[bytes]:
            async with places:
                return await asyncio.gather(*(ask(n, replay) for replay in range(REPLAYS)))

        answers = await asyncio.gather(*(all_of(n) for n in range(KEYS)))
        page = await page_of(two[1])
    assert dead.is_set()
    assert page.named("rubricd_redis_faults_total") == {}
    assert Counter(len(set(of_key)) for of_key in answers) == {1: KEYS}
    assert len({of_key[0] for of_key in answers}) == KEYS
