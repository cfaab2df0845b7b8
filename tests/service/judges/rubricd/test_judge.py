"""Tests of another rubricd as a judge: the same verdicts, its refusals, and answers that are broken in every way."""

import asyncio
import json
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from service.api import translate
from service.app import create_app
from service.clock import ManualClock, SystemClock, settle
from service.errors import ConfigurationError, InvalidRequest, Overloaded, QuotaExceeded, Unavailable
from service.judges.composed_scorer import ComposedScorer
from service.judges.rubricd.judge import RubricdJudge
from service.scheduling import Tenant
from service.scoring.request import Options
from service.settings import RuleSettings
from service.verifiers.pool import RulePool
from testkit.apps import client_of, fake_settings, item, started
from testkit.waiting import HUNG_S, until
from tests.service.judges.engines import candidate
from tests.service.scoring.shared import Budget
from trainer_client import wire

Handler = Callable[[httpx.Request], httpx.Response]
INFO = {
    "judges": [{"model": "m", "revision": "r", "mode": "verdict", "layout": "rubricd", "prompt": "question"}],
    "fingerprint": "f00d",
    "limits": {"max_model_len": 1000},
}
INFO["judges"][0]["fingerprint"] = "f00d"  # type: ignore[index]
CANDIDATES = [candidate("Rest it.", criteria=2), candidate("Run.", criteria=2)]


def lines(p: float = 0.75, judge: str = "f00d") -> list[dict[str, Any]]:
    one = {"status": "ok", "met": True, "p": p, "p_raw": p, "label_mass": 0.9, "source": "judge"}
    results: list[dict[str, Any]] = [{"index": n, "criteria": [one, one]} for n in range(2)]
    return [*results, {"done": True, "judge": {"fingerprint": judge}, "usage": {"judgements": 4, "prompt_tokens": 70}}]


def answer(found: list[dict[str, Any]]) -> httpx.Response:
    return httpx.Response(200, text="".join(json.dumps(one) + "\n" for one in found))


@asynccontextmanager
async def scorer(
    handler: Handler | httpx.AsyncBaseTransport, clock: ManualClock | None = None, **changes: Any
) -> AsyncIterator[tuple[ComposedScorer, RubricdJudge]]:
    def routed(request: httpx.Request) -> httpx.Response:
        assert callable(handler)
        return httpx.Response(200, json=INFO) if request.url.path == "/v1/judge" else handler(request)

    transport = handler if isinstance(handler, httpx.AsyncBaseTransport) else httpx.MockTransport(routed)
    own: dict[str, Any] = {"there": None, "key": None, "expected": None, "timeout_s": 5.0, **changes}
    judge = await RubricdJudge.connect(
        "other", "http://127.0.0.1", clock=clock or SystemClock(), transport=transport, **own
    )
    rules = RulePool(RuleSettings(rule_workers=1))
    try:
        yield ComposedScorer(judge, rules, clock or SystemClock()), judge
    finally:
        await judge.stop()
        await rules.stop()


async def test_it_says_what_the_other_service_says_under_its_fingerprint() -> None:
    app = create_app(fake_settings())
    async with started(app), client_of(app) as client:
        asked = [item(), item(response="Run on.", reference="Rest.")]
        direct = (await client.post("/v1/score", json={"items": asked})).json()
        body = {"items": [{**one, "id": str(n)} for n, one in enumerate(asked)]}
        async with scorer(httpx.ASGITransport(app)) as (other, judge):
            found = translate.candidates(wire.ScoreRequest.model_validate(body))
            budget = Budget()
            scored, usage = await other.score(found, Options(reserve=budget.reserve, cache="bypass"))
            assert judge.judging_modes.first.judge.fingerprint == direct["judge"]["fingerprint"]
            assert other.judging_modes.choose("verdict", "rubricd", "bare").judge.prompt == "bare"
            assert other.trust_of(judge.judging_modes.first.judge) == "unproven"
            with pytest.raises(InvalidRequest, match="compares no responses; ask the service that has it"):
                other.comparison_mode()
    assert [[one.p for one in candidate.judgements] for candidate in scored] == [
        [one["p"] for one in result["criteria"]] for result in direct["results"]
    ]
    assert [one.score.value for one in scored] == [result["score"] for result in direct["results"]]
    assert usage.judgements == 4 and usage.prompt_tokens > 0
    assert len(budget.reserved) == 1 and budget.settled == [usage.prompt_tokens - usage.cached_tokens]


def broken(found: list[dict[str, Any]], rng: random.Random) -> httpx.Response:
    """An answer that is cut, garbled, or says impossible things somewhere."""
    one = rng.choice(found[:2])
    criterion = dict(one["criteria"][0])
    kind = rng.randrange(11)
    if kind == 0:
        return answer(found[: rng.randrange(3)])
    if kind == 1:
        text = "".join(json.dumps(line) + "\n" for line in found)
        return httpx.Response(200, text=text[: rng.randrange(len(text))])
    if kind == 2:
        raise httpx.ReadError("cut")
    if kind == 3:
        return httpx.Response(rng.choice([200, 404, 500, 502, 503, 429, 401, 422]), text="<html>")
    if kind == 4:
        return answer([*found[:2], {**found[2], "judge": {"fingerprint": "beef"}}])
    wrongs: dict[int, dict[str, Any]] = {
        5: {"p": rng.choice([float("nan"), -1, 2, "0.5", True])},
        6: {"met": rng.choice([None, 1, "true"])},
        7: {"status": rng.choice(["fine", None, "engine_error"]), "met": None, "p": None},
        8: {"label_mass": "all"},
    }
    one["criteria"] = [{**criterion, **wrongs.get(kind, {})}, one["criteria"][1]]
    if kind == 9:
        one["criteria"] = one["criteria"][:1]
    if kind == 10:
        one["index"] = rng.choice([7, -1, None, "0", True])
    return answer(found)


async def test_1000_broken_answers_hold_no_invented_verdict() -> None:
    rng, clock = random.Random(0), ManualClock()
    counts: Counter[str] = Counter()
    for n in range(1000):
        p = rng.random() / 2 + 0.5
        try:
            async with scorer(lambda request, p=p: broken(lines(p), rng), clock) as (other, _):  # type: ignore[misc]
                scored, _ = await asyncio.wait_for(
                    other.score(CANDIDATES, Options(deadline_s=clock.now() + 0.5)), HUNG_S
                )
        except (Unavailable, Overloaded, InvalidRequest):
            counts["refused"] += 1
            continue
        for one in scored:
            for judgement in one.judgements:
                if judgement.ok:
                    counts["given"] += 1
                    counts["invented"] += (judgement.p, judgement.met) != (p, True)
                else:
                    counts["missing"] += 1
                    counts["invented"] += judgement.p is not None or judgement.met is not None
        if n % 100 == 0:
            await settle()
    assert counts["invented"] == 0
    assert min(counts["refused"], counts["given"], counts["missing"]) > 100, counts


async def test_a_refusal_is_carried_over_and_what_may_come_later_is_asked_again() -> None:
    clock, calls = ManualClock(), [0]

    def busy(request: httpx.Request) -> httpx.Response:
        calls[0] += 1
        if calls[0] < 3:
            problem = {"type": "urn:rubricd:problem:overloaded", "detail": "the queue is full"}
            return httpx.Response(503, json=problem, headers={"Retry-After": "7"})
        return answer(lines())

    async with scorer(busy, clock) as (other, _):
        asking = asyncio.create_task(other.score(CANDIDATES, Options()))
        started_s = clock.now()
        while not asking.done():
            await asyncio.sleep(0.001)
            await clock.advance(1.0)
        assert asking.result()[0][0].score.status == "ok"
        assert calls == [3] and clock.now() - started_s >= 14
        calls[0] = 0
        with pytest.raises(Overloaded, match="the queue is full") as refused:
            await other.score(CANDIDATES, Options(deadline_s=clock.now() + 5))
        assert (refused.value.retry_after_s, calls) == (7.0, [1]), "it cannot come in time"


@pytest.mark.parametrize(
    ("status", "raised", "why"),
    [
        (422, InvalidRequest, "too long"),
        (413, InvalidRequest, "too long"),
        (401, Unavailable, "refuses this service's key"),
        (409, Unavailable, "serves another judge now"),
        (500, Unavailable, "too long"),
    ],
)
async def test_each_status_is_a_refusal_of_its_kind(status: int, raised: type[Exception], why: str) -> None:
    budget = Budget()
    async with scorer(lambda request: httpx.Response(status, json={"detail": "too long"})) as (other, judge):
        with pytest.raises(raised, match=why):
            await other.score(CANDIDATES, Options(reserve=budget.reserve, deadline_s=SystemClock().now() + 0.5))
        assert (judge.unavailable_reason is not None) == (status == 409)
    assert budget.settled == [0], "no work was done"


async def test_a_teams_quota_is_asked_before_the_other_service_is() -> None:
    called: list[httpx.Request] = []
    async with scorer(lambda request: called.append(request) or answer(lines())) as (other, _):  # type: ignore[func-returns-value]
        with pytest.raises(QuotaExceeded):
            await other.score(CANDIDATES, Options(reserve=Budget(left=1).reserve))
    assert called == []


async def test_at_the_deadline_what_has_not_come_is_a_timeout() -> None:
    clock = ManualClock()

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield json.dumps(lines()[0]).encode() + b"\n"
            await asyncio.Event().wait()

    async with scorer(lambda request: httpx.Response(200, stream=Slow()), clock) as (other, _):
        asking = asyncio.create_task(other.score(CANDIDATES, Options(deadline_s=clock.now() + 5)))
        while not asking.done():
            await asyncio.sleep(0.001)
            await clock.advance(0.5)
        first, second = asking.result()[0]
    assert [one.status for one in (*first.judgements, *second.judgements)] == ["ok", "ok", "timeout", "timeout"]


class Held(httpx.AsyncBaseTransport):
    """Another service whose answers come when a test lets the oldest go. It notes whose responses it gets."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting: deque[asyncio.Event] = deque()

    async def has(self, asked: int) -> None:
        """Waits until it has been asked so often; a moment later it has not been asked once more."""
        await until(lambda: len(self.asked) >= asked)
        await settle()
        assert len(self.asked) == asked

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/judge":
            return httpx.Response(200, json=INFO)
        self.asked.append(json.loads(request.content)["items"][0]["response"])
        self.waiting.append(go := asyncio.Event())
        await go.wait()
        return answer(lines())


async def test_teams_share_the_other_service_although_they_are_one_there() -> None:
    """400 requests of one team come before 40 of another: these wait for none of the first team's that wait."""
    there = Held()
    async with scorer(there, ManualClock()) as (other, _):

        def asks(team: str, number: int) -> list[asyncio.Task[Any]]:
            texts = [candidate(team, criteria=2), candidate(team, criteria=2)]
            options = Options(tenant=Tenant(team))
            return [asyncio.create_task(other.score(texts, options)) for _ in range(number)]

        many = asks("many", 400)
        await there.has(32)  # the others wait here
        few = asks("few", 40)
        await settle()
        for n in range(80):
            there.waiting.popleft().set()
            await there.has(33 + n)
        after = Counter(there.asked[32 : 32 + 80])
        assert after["few"] == 40, after  # each second place while it wants one
        many[-1].cancel()
        for n in range(112, 439):
            there.waiting.popleft().set()
            await there.has(n + 1)
        for last in there.waiting:
            last.set()
        await asyncio.wait([*many, *few])
        assert len(there.asked) == 439  # who left while it waited was not asked about
        again = asks("many", 40)
        await there.has(439 + 32)  # every place was given back, once
        for task in again:
            task.cancel()


async def test_who_gets_no_place_until_its_deadline_is_told_to_come_back() -> None:
    there, clock = Held(), ManualClock()
    async with scorer(there, clock) as (other, _):
        held = [asyncio.create_task(other.score(CANDIDATES, Options())) for _ in range(32)]
        await there.has(32)
        budget = Budget()
        late = asyncio.create_task(other.score(CANDIDATES, Options(reserve=budget.reserve, deadline_s=clock.now() + 5)))
        await until(lambda: budget.reserved)
        await clock.advance(5.1)
        with pytest.raises(Overloaded, match="has enough requests of this one"):
            await late
        assert budget.settled == [0]
        left = asyncio.create_task(other.score(CANDIDATES, Options(reserve=budget.reserve)))
        await until(lambda: len(budget.reserved) == 2)
        await settle()
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert budget.settled == [0, 0]
        for task in held:
            task.cancel()


async def test_what_cannot_be_a_judge_ends_the_start() -> None:
    def missing(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"detail": "the judge is loading"})

    with pytest.raises(ConfigurationError, match="is f00d, and `expect_judge` is beef"):
        async with scorer(lambda request: answer([]), expected="beef"):
            pass
    for transport, why in (
        (httpx.MockTransport(missing), r"status 503 \(the judge is loading\)"),
        (httpx.MockTransport(lambda request: httpx.Response(200, json={"judges": []})), "describes no judge"),
        (httpx.MockTransport(lambda request: httpx.Response(200, json={**INFO, "judges": []})), "serves none"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            async with scorer(transport):
                pass
