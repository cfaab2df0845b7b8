"""Two apps on one real Redis, under a clock that stands still: quotas to the last token."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import wiring
from service.clock import ManualClock
from service.engine.fake import FakeEngine
from testkit.apps import fake_settings, item, serving
from testkit.redis import RedisServer
from testkit.teams_file import auth, team, write
from tests.service.tenancy.on_redis import TimedClient


@asynccontextmanager
async def two(
    redis_url: str, teams: Path, clock: ManualClock, timeout_s: float = 5.0
) -> AsyncIterator[list[httpx.AsyncClient]]:
    settings = fake_settings(redis_url=redis_url, teams=teams, redis_timeout_s=timeout_s)
    async with (
        serving(FakeEngine(), clock=clock, settings=settings) as first,
        serving(FakeEngine(), clock=clock, settings=settings) as second,
    ):
        yield [first, second]


def body(n: int) -> dict[str, Any]:
    return {"items": [item(response=f"Response {n:04}.")]}


async def cost(redis_url: str, tmp_path: Path) -> int:
    """What is reserved for one request: the largest that a quota of one less refuses."""
    low, high = 1, 4096
    while high - low > 1:
        middle = (low + high) // 2
        teams = write(tmp_path / f"{middle}.json", team("probe", quota={"concurrent_tokens": middle}))
        async with serving(settings=fake_settings(teams=teams)) as client:
            answer = await client.post("/v1/score", json=body(0), headers=auth("probe"))
        low, high = (low, middle) if answer.status_code == 200 else (middle, high)
    return high


@pytest.mark.parametrize("quota", ["tokens_per_minute", "requests_per_minute"])
async def test_a_quota_for_100_admits_exactly_100_of_1000_parallel_calls(
    redis_url: str, tmp_path: Path, quota: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "RedisClient", TimedClient)  # Redis' own time would fill the bucket meanwhile
    each = await cost(redis_url, tmp_path) if quota == "tokens_per_minute" else 1
    teams = write(tmp_path / "teams.json", team("a", quota={quota: 100 * each}))
    async with two(redis_url, teams, ManualClock()) as clients:
        calls = [clients[n % 2].post("/v1/score", json=body(n), headers=auth("a")) for n in range(1000)]
        answers = await asyncio.gather(*calls)
    codes = [answer.status_code for answer in answers]
    assert (codes.count(200), codes.count(429)) == (100, 900)


async def test_nothing_readable_is_in_redis(redis_url: str, tmp_path: Path) -> None:
    import redis

    teams = write(tmp_path / "teams.json", team("a", quota={"tokens_per_minute": 10**6, "concurrent_tokens": 10**6}))
    async with two(redis_url, teams, ManualClock()) as clients:
        for n, client in enumerate(clients):
            headers = {**auth("a"), "Idempotency-Key": f"readable-{n}"}
            assert (await client.post("/v1/score", json=body(n), headers=headers)).status_code == 200
        with redis.Redis.from_url(redis_url, protocol=2) as plain:
            while not any(plain.scan_iter(b"rubricd:v:*")):
                await asyncio.sleep(0.01)
            keys = b" ".join(plain.scan_iter(count=1000))
    for text in (b"knee", b"Response", b"rest", b"readable", b"team/a"):
        assert text not in keys


async def test_all_but_stored_rubrics_has_an_end_so_that_volatile_lru_evicts_no_rubric(
    redis_url: str, tmp_path: Path
) -> None:
    import redis

    teams = write(tmp_path / "teams.json", team("a", quota={"tokens_per_minute": 10**6, "concurrent_tokens": 10**6}))
    async with two(redis_url, teams, ManualClock()) as clients:
        headers = {**auth("a"), "Idempotency-Key": "ends"}
        assert (await clients[0].post("/v1/score", json=body(0), headers=headers)).status_code == 200
        stored = await clients[0].put("/v1/rubrics/knee", json=[{"text": "Says rest.", "points": 1}], headers=auth("a"))
        assert stored.status_code == 200
        with redis.Redis.from_url(redis_url, protocol=2) as plain:
            while not any(plain.scan_iter(b"rubricd:v:*")):
                await asyncio.sleep(0.01)
            ends = {bytes(key): plain.ttl(key) for key in plain.scan_iter(count=1000)}
    kinds = {b"rubricd:v:", b"rubricd:q:", b"rubricd:i:", b"rubricd:r:"}
    assert kinds <= {key[:10] for key in ends}
    assert {key for key, end_s in ends.items() if end_s == -1} == {key for key in ends if key[:10] == b"rubricd:r:"}


@pytest.mark.parametrize("fault", ["killed", "stopped", "emptied", "read only"])
async def test_a_fault_of_redis_in_the_middle_is_no_error_and_no_other_verdict(tmp_path: Path, fault: str) -> None:
    """100 requests with keys, quotas and `Idempotency-Key` each, over two apps; the fault comes after 30."""
    teams = write(tmp_path / "teams.json", team("a", quota={"tokens_per_minute": 10**9, "requests_per_minute": 10**6}))
    truth = FakeEngine()
    codes: list[int] = []
    wrong = 0
    with RedisServer() as server:
        harms: dict[str, Callable[[], object]] = {
            "killed": server.kill,
            "stopped": server.stop,
            "emptied": lambda: server.do("FLUSHALL"),
            "read only": lambda: server.do("REPLICAOF", "127.0.0.1", 1),
        }
        async with serving(truth) as plain, two(server.url, teams, ManualClock(), timeout_s=0.2) as clients:
            for n in range(100):
                if n == 30:
                    harms[fault]()
                asked = body(n % 50)
                headers = {**auth("a"), "Idempotency-Key": f"key-{n}"}
                answer = await clients[n % 2].post("/v1/score", json=asked, headers=headers)
                codes.append(answer.status_code)
                expected = (await plain.post("/v1/score", json=asked)).json()
                wrong += verdicts(answer.json()) != verdicts(expected)
            if fault == "stopped":
                server.cont()
    assert (codes, wrong) == ([200] * 100, 0)


def verdicts(answer: dict[str, Any]) -> list[float]:
    return [criterion["p"] for result in answer["results"] for criterion in result["criteria"]]
