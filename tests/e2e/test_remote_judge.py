"""The service before a judge's server on a real socket, which dies, changes and refuses under it."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from service.app import create_app, lifecycle_of
from service.engine.build import MINIATURE
from service.settings import Settings
from testkit.apps import client_of, item, started
from testkit.completions_upstream import AnyVocabulary, Upstream, card, upstream, verdict_of
from testkit.waiting import HUNG_S


@asynccontextmanager
async def served() -> AsyncIterator[tuple[httpx.AsyncClient, Upstream]]:
    """The service, ready, and its upstream. The label texts of the bundled judge's tokenizer are asked for by id."""
    async with upstream() as judge:
        settings = Settings(
            engine="remote", remote_url=judge.url, judge=str(MINIATURE), drain_s=0.0, canary_every_s=0, cache_entries=0
        )
        app = create_app(settings)
        async with started(app), client_of(app) as client:
            assert (await client.get("/readyz")).status_code == 200, lifecycle_of(app)
            yield client, judge


async def eventually(found: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(HUNG_S):
        while not await found():
            await asyncio.sleep(0.01)


async def ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def unready(client: httpx.AsyncClient) -> bool:
    return not await ready(client)


def score(client: httpx.AsyncClient, text: str) -> Awaitable[httpx.Response]:
    return client.post("/v1/score", json={"items": [item(response=text)]})


async def test_readiness_follows_the_upstream_down_and_up() -> None:
    async with served() as (client, judge):
        await judge.die()
        began = asyncio.get_running_loop().time()
        failed = await score(client, "It tells of a death.")
        statuses = {criterion["status"] for criterion in failed.json()["results"][0]["criteria"]}
        assert (failed.status_code, statuses) == (200, {"engine_error"})
        await eventually(lambda: unready(client))
        assert asyncio.get_running_loop().time() - began < 5.0
        refusals = [await score(client, f"Meanwhile {n}.") for n in range(20)]
        assert {answer.status_code for answer in refusals} == {503}
        assert all("retry-after" in answer.headers for answer in refusals)
        why = (await client.get("/readyz")).json()["detail"]
        assert why == "the judge's server does not answer; it is asked again and again"
        assert (await client.get("/healthz")).status_code == 200
        await judge.start()
        await eventually(lambda: ready(client))
        assert (await score(client, "It is back.")).json()["results"][0]["status"] == "ok"


@pytest.mark.parametrize("gap_s", [0.0, 0.05, 0.5])
async def test_no_verdict_of_another_judge_is_given_under_the_name_of_the_first(gap_s: float) -> None:
    """Requests go on while the server dies and another model comes back at its address."""
    seen: Counter[str] = Counter()
    async with served() as (client, judge):
        fingerprint = (await client.get("/v1/judge")).json()["fingerprint"]
        over = asyncio.Event()

        async def ask(name: str) -> None:
            for n in itertools.count():
                if over.is_set():
                    return
                answer = await score(client, f"Response {n} of {name}.")
                seen[str(answer.status_code)] += 1
                if answer.status_code != 200:
                    await asyncio.sleep(0.005)
                    continue
                assert answer.json()["judge"]["fingerprint"] == fingerprint
                for criterion in answer.json()["results"][0]["criteria"]:
                    if criterion["p"] is not None:
                        seen["first" if criterion["p"] in FIRST else "wrong"] += 1

        FIRST = Verdicts("/m/first")
        judge.judge = FIRST
        asking = [asyncio.create_task(ask(name)) for name in "abcd"]
        await eventually(lambda: _is(seen["first"] > 20))
        await judge.die()
        judge.judge = Verdicts("/m/second")
        await asyncio.sleep(gap_s)
        await judge.start()
        await eventually(lambda: unready(client))
        await eventually(lambda: _is(seen["503"] > 20))
        detail = (await client.get("/readyz")).json()["detail"]
        async with asyncio.timeout(HUNG_S):
            while "another judge" not in detail:
                await asyncio.sleep(0.01)
                detail = (await client.get("/readyz")).json()["detail"]
        over.set()
        await asyncio.gather(*asking)
    assert seen["wrong"] == 0, seen


class Verdicts(AnyVocabulary):
    """Remembers every P(met) that it gave."""

    def __init__(self, root: str) -> None:
        super().__init__(model=card(root))
        self.given: set[float] = set()

    def choice(self, index: int, ids: tuple[int, ...], body: dict[str, object]) -> dict[str, object]:
        self.given.add(round(verdict_of(self.models[0]["root"], ids), 9))
        return super().choice(index, ids, body)

    def __contains__(self, p: float) -> bool:
        return round(p, 9) in self.given


async def _is(found: bool) -> bool:
    return found


async def test_the_upstreams_retry_after_is_passed_on_and_kept() -> None:
    async with served() as (client, judge):
        judge.judge.script = [httpx.Response(429, headers={"retry-after": "2"})]
        calls = len(judge.judge.bodies)
        began = asyncio.get_running_loop().time()
        first = await score(client, "It comes too early.")
        statuses = {criterion["status"] for criterion in first.json()["results"][0]["criteria"]}
        assert (first.status_code, statuses) == (200, {"overloaded"})
        refused = await score(client, "It is refused.")
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:rubricd:problem:overloaded")
        assert refused.headers["retry-after"] in ("1", "2")
        assert len(judge.judge.bodies) == calls + 1
        await eventually(lambda: _scored(client))
        assert asyncio.get_running_loop().time() - began >= 2.0


async def _scored(client: httpx.AsyncClient) -> bool:
    return (await score(client, "Now.")).status_code == 200
