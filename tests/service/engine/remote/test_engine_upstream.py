"""Tests of the remote engine while its scripted server fails, pauses, changes or is silent, by a manual clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import httpx
import pytest

from service.clock import ManualClock, settle
from service.engine.base import Generation, Sampling
from service.engine.remote.engine import RemoteEngine
from service.engine.upstream.state import (
    FIRST_PROBE_S,
    HEARTBEAT_S,
    LONGEST_PAUSE_S,
    State,
)
from service.errors import EngineFailed, JudgeBusy, SharedRequestRejected
from testkit.completions_server import LABELS, Server, connect, prompts, right
from testkit.completions_upstream import upstream
from testkit.waiting import HUNG_S

STATES: tuple[State, ...] = get_args(State)

REFUSED = httpx.ConnectError("refused")
CARD = {"id": "judge", "root": "/m/judge", "max_model_len": 64}


@asynccontextmanager
async def judge(server: Server) -> AsyncIterator[tuple[RemoteEngine, ManualClock]]:
    """An engine that has read once, as after its canary."""
    clock = ManualClock()
    engine = await connect(server, clock=clock, prompts_per_call=1)
    await engine.read_labels(prompts(1), LABELS)
    server.bodies.clear()
    yield engine, clock
    await engine.stop()


async def test_the_engine_is_down_while_its_server_is_and_sends_it_no_work() -> None:
    server = Server()
    async with judge(server) as (engine, clock):
        server.script = [REFUSED] * 3
        with pytest.raises(EngineFailed, match="ConnectError"):
            await engine.read_labels(prompts(1), LABELS)
        await clock.advance(0.5)
        assert engine.down == "the judge's server does not answer; it is asked again and again"
        calls = len(server.bodies)
        with pytest.raises(EngineFailed, match="does not answer"):
            await engine.read_labels(prompts(5), LABELS)
        assert len(server.bodies) == calls, "a server that is down gets no work"
        await clock.advance(HEARTBEAT_S)
        assert engine.down is None
        (outcome,) = await engine.read_labels(prompts(1), LABELS)
        assert right(prompts(1)[0], outcome)


@pytest.mark.parametrize(
    ("answer", "alive"),
    [
        (httpx.Response(500), False),
        (httpx.Response(502), False),
        (httpx.Response(503), False),
        (httpx.Response(401), False),
        (httpx.Response(404), False),
        (httpx.ReadTimeout("slow"), False),
        (lambda _: b"<html>", False),
        (httpx.Response(400, json={}), True),
        (httpx.Response(422, json={}), True),
    ],
)
async def test_what_says_nothing_of_the_server_casts_no_doubt(answer: Any, alive: bool) -> None:
    server = Server()
    async with judge(server) as (engine, clock):
        server.script = [answer] * 3
        with pytest.raises(EngineFailed):
            await engine.read_labels(prompts(1), LABELS)
        await clock.advance(0.5)
        assert (engine.down is None) == alive
        assert len(server.bodies) == (1 if alive else 3), "a probe asks for a verdict too"


@pytest.mark.parametrize("code", [429, 503])
async def test_a_server_that_asks_to_be_left_alone_is_and_nothing_is_sent_twice(code: int) -> None:
    server = Server()
    async with judge(server) as (engine, clock):
        server.script = [httpx.Response(code, headers={"retry-after": "20"})]
        first, rest = prompts(9)[0], prompts(9)[1:]
        (refused,) = await engine.read_labels([first], LABELS)
        assert isinstance(refused, JudgeBusy) and refused.code == SharedRequestRejected.code and refused.retryable
        assert engine.down is None and engine.pause_s == 20.0
        waiting = asyncio.create_task(engine.read_labels(rest, LABELS))
        await clock.advance(19.9)
        assert len(server.bodies) == 1 and not waiting.done()
        await clock.advance(0.2)
        outcomes = await waiting
        assert all(right(prompt, outcome) for prompt, outcome in zip(rest, outcomes, strict=True))
        sent = [tuple(body["prompt"][0]) for body in server.bodies]
        assert sent.count(first.ids) == 2, "refused once, and once as the prompt of the probe"
        assert sorted(sent[2:]) == sorted(prompt.ids for prompt in rest) and engine.pause_s == 0.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 1.0),
        ({"retry-after": "99999999999999999999"}, LONGEST_PAUSE_S),
        ({"retry-after": "Sun, 29 Nov 2026 20:00:30 GMT", "date": "Sun, 29 Nov 2026 20:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 29 Nov 2026 20:00:30 GMT"}, 1.0),
        ({"retry-after": "soon"}, 1.0),
        ({"retry-after": "-5"}, 1.0),
        ({}, 1.0),
    ],
)
async def test_a_retry_after_is_read_as_seconds_or_as_a_date_by_the_servers_clock(
    headers: dict[str, str], seconds: float
) -> None:
    server = Server()
    async with judge(server) as (engine, _):
        server.script = [httpx.Response(429, headers=headers)]
        await engine.read_labels(prompts(1), LABELS)
        assert engine.pause_s == seconds


@pytest.mark.parametrize(
    "change",
    [
        {"card": CARD | {"id": "other"}},
        {"card": CARD | {"root": "/m/fine-tuned"}},
        {"card": CARD | {"max_model_len": 32}},
        {"version": "0.33.0"},
        {"version": None},
    ],
)
async def test_another_judge_under_the_same_url_gets_no_work(
    change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    async with judge(server) as (engine, clock):
        first = engine.identity
        server.models = [change.get("card", CARD)]
        server.version = change.get("version", server.version)
        await clock.advance(HEARTBEAT_S)
        assert "serves another judge now" in str(engine.down) and engine.identity == first
        assert "instead of" in caplog.text or "not judge" in caplog.text
        with pytest.raises(EngineFailed, match="another judge"):
            await engine.read_labels(prompts(3), LABELS)
        assert server.bodies == []
        server.models, server.version = [CARD], "0.32.0"
        await clock.advance(HEARTBEAT_S)
        assert engine.down is None


async def test_a_version_that_is_not_told_for_a_moment_is_no_other_judge() -> None:
    server = Server()
    told = server.handle_async_request

    async def fails(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500) if request.url.path.endswith("/version") else await told(request)

    async with judge(server) as (engine, clock):
        server.handle_async_request = fails  # type: ignore[method-assign]
        await clock.advance(HEARTBEAT_S + 0.5)
        assert "does not answer" in str(engine.down)
        server.handle_async_request = told  # type: ignore[method-assign]
        await clock.advance(HEARTBEAT_S)
        assert engine.down is None


async def test_what_a_probe_asks_is_read_as_strictly_as_a_verdict() -> None:
    """A server that lists its models and generates, but whose labels cannot be read, is down."""
    server = Server()

    def garbled(answer: Any) -> Any:
        answer["choices"][0]["logprobs"] = None
        return answer

    async with judge(server) as (engine, clock):
        server.script = [garbled] * 100
        await engine_fails(engine)
        await clock.advance(0.5)
        assert "does not answer" in str(engine.down)


async def engine_fails(engine: RemoteEngine) -> None:
    with pytest.raises(EngineFailed):
        await engine.read_labels(prompts(1), LABELS)
    await settle()


async def test_a_generation_waits_for_the_end_of_a_pause_too() -> None:
    server = Server()
    async with judge(server) as (engine, clock):
        server.script = [httpx.Response(429, headers={"retry-after": "3"})]
        (refused,) = await engine.generate(prompts(1), [Sampling(max_tokens=9)])
        assert isinstance(refused, JudgeBusy)
        waiting = asyncio.create_task(engine.generate(prompts(1), [Sampling(max_tokens=9)]))
        await clock.advance(4.0)
        (written,) = await waiting
        assert isinstance(written, Generation)


async def test_a_server_that_accepts_and_does_not_answer_is_down_until_it_does() -> None:
    """On a real socket: the models are listed, and no verdict comes."""
    async with upstream() as far:
        clock = ManualClock()
        engine = await RemoteEngine.connect(far.url, timeout_s=1.0, clock=clock)
        await engine.read_labels(prompts(1), LABELS)
        far.judge.script = ["hang"] * 3
        with pytest.raises(EngineFailed, match="within 1 s"):
            await engine.read_labels(prompts(1), LABELS)
        async with asyncio.timeout(HUNG_S):
            while engine.down is None:
                await clock.advance(FIRST_PROBE_S)
                await asyncio.sleep(0.005)
        calls = len(far.judge.bodies)
        assert calls == 4, "one read, one call, two probes"
        async with asyncio.timeout(HUNG_S):
            while engine.down is not None:
                await clock.advance(FIRST_PROBE_S)
                await asyncio.sleep(0.005)
        assert len(far.judge.bodies) == calls + 1
        await engine.stop()


async def test_stopping_ends_the_probes() -> None:
    server = Server()
    async with judge(server) as (engine, clock):
        await engine.stop()
        asked = len(server.requests)
        await clock.advance(60.0)
        assert len(server.requests) == asked and engine.down == "the judge was stopped"
