"""A real process is told to end with work in flight: nothing is lost, nothing invented, and who asks meanwhile is told
to come back. The judge is held up until the test lets it go, so that what is in flight is known, not hoped for.
"""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from testkit.apps import client_of, fake_settings, started
from testkit.processes import Running, service
from testkit.waiting import HUNG_S
from tests.e2e.balancer import Balancer
from trainer_client.client import JudgeClient, Scored

WHOLE, STREAMED = 900, 100
DRAIN_S, GRACE_S = 240, 300
AT_ONCE_S = 120.0
"""Long enough for a busy machine, and half of the time that draining may take."""
UNHURRIED = [flag for name in ("header", "idle", "stall") for flag in (f"--{name}-timeout-s", str(HUNG_S))]
"""A thousand callers of one busy process may be slow."""
QUEUE = ("--max-queue-s", "10000")
# Without the exam, whose last questions are asked while it serves: they would be counted with what a test asks.
FLAGS = ("--engine", "fake", "--canary-every-s", "0", "--exam", "false", "--cache-entries", "0", *QUEUE, *UNHURRIED)
NDJSON = {"accept": "application/x-ndjson"}
THREE = [{"text": f"Says to {word}.", "points": 1} for word in ("rest", "run", "call a doctor")]
Chances = Mapping[str, tuple[float, ...]]


def whole(n: int) -> dict[str, Any]:
    return {"id": f"whole {n}", "prompt": "My knee hurts.", "response": f"Rest it. {n}", "rubric": THREE[:1]}


def group(n: int) -> dict[str, Any]:
    responses = [f"Run. {n}", f"Sit down. {n}"]
    return {"id": f"group {n}", "prompt": "My knee hurts.", "responses": responses, "rubric": THREE}


def chances(results: list[dict[str, Any]]) -> dict[str, tuple[float, ...]]:
    return {one["id"]: tuple(criterion["p"] for criterion in one["criteria"]) for one in results}


async def truth(items: list[dict[str, Any]]) -> tuple[Chances, int]:
    """What the fake judge says of them, asked of an app that nobody stops; and how many tokens that is."""
    app = create_app(fake_settings())
    found: dict[str, tuple[float, ...]] = {}
    tokens = 0
    async with started(app), client_of(app) as client:
        for first in range(0, len(items), 200):
            answer = (await client.post("/v1/score", json={"items": items[first : first + 200]})).json()
            found |= chances(answer["results"])
            tokens += answer["usage"]["prompt_tokens"]
    return found, tokens


class Hold:
    """The judge answers nothing from `on` to `off`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def on(self) -> None:
        self._file.touch()

    def off(self) -> None:
        self._file.unlink()


@pytest.fixture
def hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hold:
    monkeypatch.setenv("HOLD", str(tmp_path / "hold"))
    return Hold(tmp_path / "hold")


@contextmanager
def slow(*flags: str, ready: bool = True) -> Iterator[Running]:
    with service(*FLAGS, "--drain-s", str(DRAIN_S), *flags, module="testkit.slow_service", ready=ready) as running:
        yield running


@asynccontextmanager
async def asking(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=running.url, timeout=HUNG_S, limits=limits) as client:
        yield client


async def tokens_at(client: httpx.AsyncClient) -> int:
    """Tokens that wait, and those at the judge."""
    told = (await client.get("/metrics")).text
    return sum(int(float(n)) for n in re.findall(r"^rubricd_(?:queued|in_flight)_tokens (\S+)$", told, re.M))


async def until_let_in(client: httpx.AsyncClient, tokens: int, posts: list[asyncio.Task[httpx.Response]]) -> None:
    """Nearly so many tokens, and no more come: how many a query counts for depends on what it shares a batch with."""
    found, unchanged = 0, 0
    async with asyncio.timeout(HUNG_S):
        while found < 0.9 * tokens or unchanged < 20:
            assert not any(post.done() for post in posts), "refused, or answered already"
            await asyncio.sleep(0.05)
            before, found = found, await tokens_at(client)
            unchanged = unchanged + 1 if found == before else 0


async def streamed(client: httpx.AsyncClient, n: int, open: asyncio.Semaphore) -> list[dict[str, Any]]:
    """The lines of an answer; `open` is told when it has begun, which is when it was admitted."""
    async with client.stream("POST", "/v1/score", json={"items": [group(n)]}, headers=NDJSON) as response:
        assert response.status_code == 200
        open.release()
        return [json.loads(line) async for line in response.aiter_lines()]


async def exit_of(running: Running, seconds: float) -> int:
    return await asyncio.to_thread(running.process.wait, seconds)


async def test_sigterm_with_1000_in_flight_loses_none_of_them(hold: Hold) -> None:
    expected, _ = await truth([group(n) for n in range(STREAMED)])
    more, tokens = await truth([whole(n) for n in range(WHOLE)])
    expected = {**expected, **more}
    with slow() as running:
        async with asking(running) as client, httpx.AsyncClient(base_url=running.url, timeout=HUNG_S) as kept:
            hold.on()
            open = asyncio.Semaphore(0)
            streams = [asyncio.create_task(streamed(client, n, open)) for n in range(STREAMED)]
            for _ in streams:
                await open.acquire()
            before = await tokens_at(client)
            posts = [asyncio.create_task(client.post("/v1/score", json={"items": [whole(n)]})) for n in range(WHOLE)]
            await until_let_in(client, before + tokens, posts)

            assert (await kept.get("/readyz")).status_code == 200
            told_s = time.monotonic()
            running.process.terminate()
            while (probe := await client.get("/readyz")).status_code == 200:
                pass
            unready_s = time.monotonic() - told_s
            assert unready_s < AT_ONCE_S
            assert (probe.status_code, probe.headers["retry-after"]) == (503, "1")
            for asked in (client, kept):  # new connections are taken, and old ones told
                refused = await asked.post("/v1/score", json={"items": [whole(0)]})
                assert (refused.status_code, refused.headers["connection"]) == (503, "close")
                assert refused.json()["type"].endswith(":unavailable") and "retry-after" in refused.headers
            while time.monotonic() < told_s + 1.5:  # beyond the time that it listens in any case
                assert (await client.get("/readyz")).status_code == 503
            assert (await client.get("/healthz")).status_code == 200
            assert not any(task.done() for task in (*streams, *posts))

            hold.off()
            answers, lines = await asyncio.gather(*posts), await asyncio.gather(*streams)
            code = await exit_of(running, GRACE_S)
            ended_s = time.monotonic() - told_s
    assert [answer.text for answer in answers if answer.status_code != 200] == []
    assert {answer.headers["connection"] for answer in answers} == {"close"}
    assert all(of[-1]["done"] is True and len(of) == 3 for of in lines)
    found = [one for answer in answers for one in answer.json()["results"]] + [one for of in lines for one in of[:-1]]
    assert len(found) == WHOLE + 2 * STREAMED
    assert chances(found) == expected
    assert code == 0
    assert ended_s < GRACE_S
    print(f"unready after {unready_s:.3f} s, ended after {ended_s:.1f} s")


@pytest.mark.parametrize("hurried", [True, False], ids=["a second signal", "no time left"])
async def test_what_has_no_time_left_is_told_so_and_is_no_verdict(hold: Hold, hurried: bool) -> None:
    _, tokens = await truth([whole(n) for n in range(20)])
    with slow(*(() if hurried else ("--drain-s", "0.5"))) as running:
        hold.on()
        async with asking(running) as client:
            open = asyncio.Semaphore(0)
            stream = asyncio.create_task(streamed(client, 0, open))
            await open.acquire()
            before = await tokens_at(client)
            posts = [asyncio.create_task(client.post("/v1/score", json={"items": [whole(n)]})) for n in range(20)]
            await until_let_in(client, before + tokens, posts)
            told_s = time.monotonic()
            running.process.terminate()
            if hurried:
                while (await client.get("/readyz")).status_code == 200:
                    pass
                running.process.terminate()
            answers, lines = await asyncio.gather(*posts), await stream
            code = await exit_of(running, AT_ONCE_S)
            ended_s = time.monotonic() - told_s
    results = [one for answer in answers for one in answer.json()["results"]] + lines[:-1]
    assert [answer.text for answer in answers if answer.status_code != 200] == []
    assert lines[-1]["done"] is True
    assert {criterion["status"] for one in results for criterion in one["criteria"]} == {"cancelled"}
    assert {criterion["met"] for one in results for criterion in one["criteria"]} == {None}
    assert {one["score"] for one in results} == {None}
    assert code == 0
    assert ended_s < AT_ONCE_S
    print(f"ended after {ended_s:.1f} s")


def test_sigterm_while_the_judge_loads_ends_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loading = tmp_path / "loading"
    loading.touch()
    monkeypatch.setenv("LOADING", str(loading))
    with slow(ready=False) as running:
        probe = httpx.get(f"{running.url}/readyz", timeout=HUNG_S)
        assert (probe.status_code, "loading" in probe.json()["detail"]) == (503, True)
        told_s = time.monotonic()
        running.process.terminate()
        readyz = f"{running.url}/readyz"
        while "shutting down" not in httpx.get(readyz, timeout=HUNG_S).text:  # with nothing to finish, too
            assert time.monotonic() - told_s < AT_ONCE_S
        assert running.process.wait(AT_ONCE_S) == 0
        print(f"ended after {time.monotonic() - told_s:.1f} s")


class Counted(httpx.AsyncHTTPTransport):
    """What the client met, before its retries."""

    def __init__(self) -> None:
        super().__init__()
        self.met: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await super().handle_async_request(request)
        except httpx.TransportError as error:
            self.met[type(error).__name__] += 1
            raise
        self.met[str(response.status_code)] += 1
        return response


async def started_behind(balancer: Balancer, stack: ExitStack) -> Running:
    running = await asyncio.to_thread(stack.enter_context, slow())
    await balancer.add(running.url)
    return running


async def test_a_client_scores_through_three_rolling_restarts() -> None:
    items = [whole(n) for n in range(200)]
    expected, _ = await truth(items)
    with ExitStack() as stack:
        met = Counted()
        async with Balancer() as balancer, JudgeClient(balancer.url, transport=met, batch_items=4) as client:
            running = [await started_behind(balancer, stack), await started_behind(balancer, stack)]

            async def roll() -> None:
                for _ in range(3):
                    gone = running.pop(0)
                    gone.process.terminate()
                    assert await exit_of(gone, GRACE_S) == 0
                    balancer.remove(gone.url)
                    running.append(await started_behind(balancer, stack))

            rolling = asyncio.create_task(roll())
            judges, rounds = set(), 0
            while not rolling.done():
                # It waits, so that nothing depends on how soon a busy machine's balancer looks. What default retries
                # last for is counted by a clock of the test's own: tests/trainer_client/http/test_rolling_restart.py.
                outcomes = await client.score(items, wait_for_judge_s=HUNG_S)
                assert [outcome for outcome in outcomes if not isinstance(outcome, Scored)] == []
                scored = [outcome for outcome in outcomes if isinstance(outcome, Scored)]
                said = {one.result.id: tuple(c.p for c in one.result.criteria) for one in scored}
                assert said == expected
                judges |= {one.judge.fingerprint for one in scored}
                rounds += 1
            await rolling
    assert len(judges) == 1
    assert rounds > 1
    print(f"{rounds} rounds of {len(items)} responses; the client met {dict(met.met)}")
