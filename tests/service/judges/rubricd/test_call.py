"""What another rubricd may do wrong while it answers: twice, of another judge, too much, round in circles."""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest

from service.clock import ManualClock, SystemClock
from service.errors import InvalidRequest, Unavailable
from service.judges.composed_scorer import ComposedScorer
from service.judges.composition import Member
from service.judges.hops import HOPS, MOST_HOPS, came_through
from service.judges.panel import Panel
from service.scoring.request import Options
from service.settings import RuleSettings
from service.verifiers.pool import RulePool
from testkit.waiting import HUNG_S
from tests.service.judges.rubricd.test_judge import CANDIDATES, INFO, answer, lines, scorer
from tests.service.scoring.shared import Budget


async def test_a_result_that_comes_twice_counts_once() -> None:
    """The second says otherwise, and neither replaces the first nor is given out beside it."""
    first, second, end = lines(0.75)
    again = {**lines(0.9)[0], "index": 0}
    for sent in ([first, again, second, end], [first, again], [again, first, second, end]):
        found: Counter[int] = Counter()
        async with scorer(lambda request, sent=sent: answer(sent)) as (other, _):  # type: ignore[misc]
            job = await other.start(CANDIDATES, Options())
            async for i, one in job.scored():
                found[i] += 1
                if i == 0:
                    assert {judgement.p for judgement in one.judgements} == {sent[0]["criteria"][0]["p"]}
                else:
                    assert [judgement.status for judgement in one.judgements] == ["engine_error"] * 2
        assert found == {0: 1, 1: 1}


async def test_what_another_judge_says_in_the_end_to_have_judged_is_given_to_nobody() -> None:
    async with scorer(lambda request: answer(lines(judge="beef"))) as (other, judge):
        with pytest.raises(Unavailable, match="another judge has answered"):
            await other.score(CANDIDATES, Options())
        assert judge.unavailable_reason is not None
        with pytest.raises(Unavailable, match="serves another judge"):
            await other.score(CANDIDATES, Options())


WRONG: list[dict[str, Any]] = [
    {"explanation": {"text": "x"}},
    {"explanation": 7},
    {"p": float("inf")},
    {"p": None},
    {"p_raw": float("nan")},
    {"disagreement": -0.5},
    {"met": None},
    {"met": "yes"},
]


async def test_fields_of_another_kind_are_no_verdict() -> None:
    """8 of 8: no text is a number, and no number a text."""
    for change in WRONG:
        sent = lines()
        sent[0]["criteria"] = [{**sent[0]["criteria"][0], **change}] * 2
        async with scorer(lambda request, sent=sent: answer(sent)) as (other, _):  # type: ignore[misc]
            scored, _usage = await other.score(CANDIDATES, Options(deadline_s=SystemClock().now() + 5))
            assert [one.status for one in scored[0].judgements] == ["engine_error"] * 2, change


async def test_a_team_pays_for_what_came_where_the_other_service_breaks_off() -> None:
    for sent, share in ((lines()[:1], 2), (lines()[:0], 0)):
        budget = Budget()
        async with scorer(lambda request, sent=sent: answer(sent)) as (other, _):  # type: ignore[misc]
            await other.score(CANDIDATES, Options(reserve=budget.reserve))
        [reserved] = budget.reserved
        assert budget.settled == [reserved // share if share else 0]


async def test_an_answer_is_no_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.judges.rubricd.judge._LARGEST_ANSWER", 1 << 20)
    sent = 0

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            nonlocal sent
            yield json.dumps(lines()[0]).encode() + b"\n"
            while sent < 1024:
                sent += 1
                yield b" " * (1 << 20)

    def endless(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Endless())

    async with scorer(endless) as (other, _):
        scored, _usage = await asyncio.wait_for(other.score(CANDIDATES, Options()), HUNG_S)
    assert [one.judgements[0].status for one in scored] == ["ok", "engine_error"] and sent < 4


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    seen: list[tuple[str, str | None]] = []

    def moved(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, request.headers.get("authorization")))
        if request.url.path == "/v1/judge":
            return httpx.Response(200, json=INFO)
        return httpx.Response(307, headers={"location": "http://evil.example/v1/score"})

    async with scorer(httpx.MockTransport(moved), key="secret") as (other, _):
        with pytest.raises(Unavailable, match="status 307"):
            await other.score(CANDIDATES, Options())
    assert seen == [("127.0.0.1", "Bearer secret")] * len(seen) and len(seen) >= 2


async def test_a_request_that_goes_round_in_circles_ends() -> None:
    """The other service asks this one again, as two do that name each other's judge: 5 requests, and a refusal."""
    calls = 0

    async def route(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        if request.url.path == "/v1/judge":
            return httpx.Response(200, json=INFO)
        calls += 1
        HOPS.set(came_through(request.headers.raw))
        try:
            await other.score(CANDIDATES, Options())
        except InvalidRequest as error:
            return httpx.Response(422, json={"detail": str(error)})
        raise AssertionError("it is asked for ever")

    async with scorer(httpx.MockTransport(route)) as (other, _):
        with pytest.raises(InvalidRequest, match="made of each other"):
            await asyncio.wait_for(other.score(CANDIDATES, Options()), HUNG_S)
    assert calls == MOST_HOPS


def test_a_header_that_is_no_number_says_nothing() -> None:
    for value, hops in [
        (b"3", 3),
        (b"999", MOST_HOPS),
        (b"9" * 400, 0),
        (b"-1", 0),
        (b"x", 0),
        (b"", 0),
        ("²".encode(), 0),
    ]:
        assert came_through([(b"rubricd-hops", value)]) == hops
    assert came_through([]) == 0


async def test_a_service_that_says_nothing_holds_up_no_other_member() -> None:
    """A panel with a quorum of one: the member that answers is heard, whichever stands first."""
    clock = ManualClock()
    called = asyncio.Event()

    async def hangs(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/judge":
            return httpx.Response(200, json=INFO)
        called.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")

    rules = RulePool(RuleSettings(rule_workers=1))
    async with (
        scorer(httpx.MockTransport(hangs), clock) as (silent, _),
        scorer(lambda request: answer(lines()), clock) as (good, _),
    ):
        both = [Member("silent", silent), Member("good", good)]
        for members in (both, both[::-1]):
            panel = ComposedScorer(Panel("p", "mean", 1, members), rules, clock)
            asking = asyncio.create_task(panel.score(CANDIDATES, Options(deadline_s=clock.now() + 10)))
            began_s = clock.now()
            while not asking.done():
                await asyncio.sleep(0.001)
                await clock.advance(0.25)
            scored, usage = asking.result()
            assert clock.now() - began_s <= 10.5 and usage.cost is None
            for one in scored:
                assert [judgement.p for judgement in one.judgements] == [0.75, 0.75]
                said = {name: judgement.status for name, judgement in one.judgements[0].members}
                assert said == {"silent": "timeout", "good": "ok"}
    await rules.stop()
