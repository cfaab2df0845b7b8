"""Replicas come and go under load: nothing lost, nothing invented, and the client says nothing of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from service.app import create_app
from testkit.apps import client_of, fake_settings, started
from testkit.ray.engines import prompt
from testkit.ray.nodes import WAIT_S, Nodes, Replica, client, kill
from testkit.teams_file import key
from trainer_client.cli.score import RETRIES
from trainer_client.client import JudgeClient, Outcome, Scored
from trainer_client.errors import LostTwice

RUBRIC = [{"text": f"Criterion number {n}.", "points": 1} for n in range(6)]
GROUP = 4


def groups(count: int) -> list[dict[str, Any]]:
    """Never asked before, each of them."""
    asked = time.monotonic_ns()
    answers = [f"Answer {n}." for n in range(GROUP)]
    return [{"prompt": f"Asked at {asked}, {n}.", "responses": answers, "rubric": RUBRIC} for n in range(count)]


def verdicts(outcomes: list[Outcome]) -> list[list[float | None]]:
    """P(met) of every criterion; an outcome that is none fails."""
    failed = [outcome for outcome in outcomes if not isinstance(outcome, Scored)]
    assert not failed, failed[:3]
    return [[one.p for one in outcome.result.criteria] for outcome in outcomes if isinstance(outcome, Scored)]


async def oracle(items: list[dict[str, Any]]) -> list[list[float | None]]:
    """What the judge says when nothing disturbs it."""
    app = create_app(fake_settings(canary_every_s=0), build=prompt)
    found: list[list[float | None]] = []
    async with started(app), client_of(app) as asking:
        for item in items:
            answer = await asking.post("/v1/score", json={"items": [item]})
            found += [[one["p"] for one in result["criteria"]] for result in answer.json()["results"]]
    return found


async def under_load(
    nodes: Nodes, items: list[dict[str, Any]], meanwhile: Callable[[Callable[[], float]], Awaitable[None]]
) -> list[Outcome]:
    """All outcomes, judged while something happens; `meanwhile` gets to know which share has come."""
    come = 0

    def heard(place: int, outcome: Outcome) -> None:
        nonlocal come
        come += 1

    async with JudgeClient(nodes.url, token=key("a"), batch_items=GROUP, retry=RETRIES) as judge:
        asking = asyncio.create_task(judge.score(items, on_outcome=heard))
        await meanwhile(lambda: 1.0 if asking.done() else come / (len(items) * GROUP))
        return await asking


async def ask_again(nodes: Nodes, items: list[dict[str, Any]], outcomes: list[Outcome]) -> None:
    """Asks once more for what both replicas had when they were killed: the client did not hand it to a third one."""
    lost = sorted({place // GROUP for place, one in enumerate(outcomes) if _was_lost_twice(one)})
    assert len(lost) < len(items) / 10
    async with JudgeClient(nodes.url, token=key("a"), batch_items=GROUP) as judge:
        for n in lost:
            outcomes[n * GROUP : (n + 1) * GROUP] = await judge.score([items[n]])


def _was_lost_twice(outcome: Outcome) -> bool:
    return not isinstance(outcome, Scored) and isinstance(outcome.error, LostTwice)


async def reached(share: Callable[[], float], enough: float) -> None:
    until = time.monotonic() + WAIT_S
    while share() < enough:
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


async def test_killed_replicas_lose_nothing(three: Nodes) -> None:
    """One is killed, and where it was replaced one more, on the other node."""
    items = groups(250)
    there = three.replicas()
    victims = [there[0], next(one for one in there if one.node != there[0].node)]

    async def killing(share: Callable[[], float]) -> None:
        for enough, victim in zip((0.1, 0.4), victims, strict=True):
            await reached(share, enough)
            kill(victim)
        assert share() < 1.0

    outcomes = await under_load(three, items, killing)
    await ask_again(three, items, outcomes)
    assert verdicts(outcomes) == await oracle(items)
    now = await asyncio.to_thread(three.until, lambda found: len(found) == 3)
    assert not {one.pid for one in victims} & {one.pid for one in now}


async def test_a_stream_outlives_the_replica_that_it_came_from(three: Nodes) -> None:
    """Several at once, so that whichever replica dies had one of them."""
    items = groups(60)
    victim = (await asyncio.to_thread(three.until, lambda found: len(found) == 3))[0]
    found: dict[int, Outcome] = {}
    async with JudgeClient(three.url, token=key("a"), batch_items=12, retry=RETRIES) as judge:
        async for place, outcome in judge.stream(items):
            assert place not in found
            found[place] = outcome
            if len(found) == 40:
                kill(victim)
    assert verdicts([found[place] for place in range(len(items) * GROUP)]) == await oracle(items)


async def test_a_replica_whose_engine_is_down_is_asked_nothing_and_left_alone(three: Nodes) -> None:
    there = await asyncio.to_thread(three.until, lambda found: len(found) == 3)
    away = there[0]

    async def asked() -> tuple[float, set[int]]:
        """How many of 20 requests came to that replica, and what all were answered with."""
        before = await asyncio.to_thread(_asked, three, away)
        async with client(three) as asking:
            answers = [await asking.post("/v1/score", json={"items": [item]}) for item in groups(20)]
        return await asyncio.to_thread(_asked, three, away) - before, {answer.status_code for answer in answers}

    async def until_asked(some: bool) -> None:
        until = time.monotonic() + WAIT_S
        while ((await asked())[0] > 0) is not some:
            assert time.monotonic() < until

    await until_asked(True)
    with three.away(away):
        await until_asked(False)
        assert await asked() == (0, {200})
    await until_asked(True)
    assert (await asked())[1] == {200}
    assert {one.pid for one in three.replicas()} == {one.pid for one in there}


def _asked(nodes: Nodes, replica: Replica) -> float:
    return sum(
        nodes.metric(replica, f'rubricd_requests_total{{route="/v1/score",status="{status}"}}') for status in (200, 503)
    )
