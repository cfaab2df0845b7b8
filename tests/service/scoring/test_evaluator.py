"""Queries are judged once, and refused before the work where they have surely no place."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from service.cache.shared import Lookup
from service.clock import ManualClock, settle
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import Overloaded, QuotaExceeded
from service.modes.modes import ModeResult, Query
from service.rubrics.judgement import Verdict
from service.scheduling import Scheduler, Tenant
from service.scoring import rendering
from service.scoring.request import CacheUse, Options
from service.settings import SchedulingSettings
from testkit.waiting import HUNG_S
from tests.service.scoring.shared import Budget, Pool, replica
from tests.service.scoring.test_scorer import candidate, scoring, until_asked


async def test_a_request_that_joined_a_refused_query_is_overloaded_and_not_refused() -> None:
    pool, engine, budget = Pool(), FakeEngine(), Budget(left=10)
    async with replica(engine, pool) as (scorer, _):
        refused, joined = await asyncio.gather(
            scorer.score([candidate()], Options(reserve=budget.reserve)),
            scorer.score([candidate()], Options(min_coverage=0.0)),
            return_exceptions=True,
        )
    assert isinstance(refused, QuotaExceeded)
    assert not isinstance(joined, BaseException)
    assert {(j.status, j.met) for j in joined[0][0].judgements} == {("overloaded", None)}


async def test_a_request_that_bypasses_the_cache_reads_and_keeps_nothing() -> None:
    pool, engine = Pool(), FakeEngine()
    async with replica(engine, pool) as (scorer, sharing):
        bypass, twice = Options(cache="bypass"), [candidate(criteria=3), replace(candidate(criteria=3), id="again")]
        scored, usage = await scorer.score(twice, bypass)
        assert (usage.judgements, usage.cache_hits, usage.deduplicated) == (6, 0, 0), "equal ones each by itself"
        assert {j.source for one in scored for j in one.judgements} == {"judge"}
        assert (pool.values, pool.holders, sharing.looked_up) == ({}, {}, 0)
        _, usage = await scorer.score([candidate(criteria=3)], Options())
        assert (usage.judgements, usage.cache_hits) == (3, 0), "nothing was kept"
        before = dict(pool.values)
        _, usage = await scorer.score(twice, bypass)
        assert (usage.judgements, usage.cache_hits, pool.values) == (6, 0, before), "nor read"


async def test_a_request_that_refreshes_judges_again_and_its_verdicts_are_kept() -> None:
    pool, engine = Pool(), FakeEngine()
    async with replica(engine, pool) as (scorer, _):
        known = await scorer.score([candidate(criteria=3)], Options())
        for key in pool.values:
            pool.values[key] = Verdict(0.5, 1.0)
        twice = [candidate(criteria=3), replace(candidate(criteria=3), id="again")]
        scored, usage = await scorer.score(twice, Options(cache="refresh"))
        assert (usage.judgements, usage.cache_hits, usage.deduplicated) == (3, 0, 3)
        assert [j.p for j in scored[0].judgements] == [j.p for j in known[0][0].judgements]
        assert Verdict(0.5, 1.0) not in pool.values.values() and len(pool.values) == 3
        _, usage = await scorer.score(twice, Options())
        assert (usage.judgements, usage.cache_hits) == (0, 6)
    assert pool.holders == {}


@pytest.mark.parametrize("cache", ["refresh", "bypass"])
async def test_who_does_not_use_the_cache_joins_nobody_and_is_joined_by_nobody(cache: CacheUse) -> None:
    clock, pool = ManualClock(), Pool()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with replica(engine, pool, clock) as (scorer, _):
        asked = [
            asyncio.create_task(scorer.score([candidate(criteria=2)], Options(cache=one))) for one in ("use", cache)
        ]
        while scorer.evaluator.flights < 4 or scorer.evaluator.starting:
            await asyncio.sleep(0.001)
        late = asyncio.create_task(scorer.score([candidate(criteria=2)], Options()))
        await settle()
        assert scorer.evaluator.flights == 4
        asked[1].cancel()
        await settle()
        assert scorer.evaluator.flights == 2, "only its own flights end with it"
        while not late.done():
            await clock.advance(1.0)
        assert (await asked[0])[1].judgements == 2 and late.result()[1].deduplicated == 2
    assert pool.holders == {}


async def test_what_surely_has_no_place_is_refused_before_it_is_rendered_or_reserved() -> None:
    clock, pool, budget = ManualClock(), Pool(), Budget()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    limits = SchedulingSettings(max_batch_tokens=1, max_in_flight=1, max_queued_tokens=400)
    async with replica(engine, pool, clock, limits) as (scorer, _):
        first = asyncio.create_task(scorer.score([candidate()], Options()))
        await until_asked(engine)
        refused = asyncio.create_task(scorer.score([candidate("long " * 400)], Options(reserve=budget.reserve)))
        await settle()  # and no thread has been waited for
        assert isinstance(refused.exception(), Overloaded)
        assert budget.reserved == []
        first.cancel()
        await settle()
    assert pool.holders == {}


async def test_capacity_is_asked_for_once_before_rendering_and_once_with_the_exact_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, asked_tokens, counted = FakeEngine(), list[int](), list[int]()
    check, count = Scheduler.check_capacity, rendering.count_characters

    def check_capacity(self: Scheduler, tenant: Tenant, tokens: int, deadline_s: float | None) -> None:
        asked_tokens.append(tokens)
        check(self, tenant, tokens, deadline_s)

    def count_characters(queries: Sequence[Query], most: int) -> int:
        counted.append(len(queries))
        return count(queries, most)

    monkeypatch.setattr(Scheduler, "check_capacity", check_capacity)
    monkeypatch.setattr(rendering, "count_characters", count_characters)
    async with scoring(engine) as scorer:
        await scorer.score([candidate()], Options())
        await scorer.score([candidate()], Options())  # known: neither asks nor counts
    assert asked_tokens[0] == 1  # nothing was rendered before
    assert asked_tokens[1] > 100
    assert (len(asked_tokens), counted) == (2, [12])


async def test_requests_that_arrive_at_once_are_refused_before_rendering_where_all_have_no_place() -> None:
    clock, budget = ManualClock(), Budget()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    limits = SchedulingSettings(max_batch_tokens=1, max_in_flight=1, max_queued_tokens=8000)
    async with scoring(engine, clock, limits) as scorer:
        first = asyncio.create_task(scorer.score([candidate()], Options()))
        await until_asked(engine)  # an estimate is learned, and something waits
        options = Options(reserve=budget.reserve, tenant=Tenant("other"))
        requests = [asyncio.create_task(scorer.score([candidate(f"Response {n}.")], options)) for n in range(100)]
        await settle()
        refused = [request for request in requests if request.done()]
        assert 80 <= len(refused) < 100
        assert all(isinstance(request.exception(), Overloaded) for request in refused)
        # The refused began none. One that had a place by the estimate may have lost it by the exact count meanwhile.
        assert 0 < scorer.evaluator.flights <= 12 * (1 + len(requests) - len(refused))
        for request in (first, *requests):
            request.cancel()
        await asyncio.gather(first, *requests, return_exceptions=True)


async def test_a_bug_in_the_shared_cache_answers_everybody_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, engine, looking = Pool(), FakeEngine(), asyncio.Event()
    async with replica(engine, pool) as (scorer, sharing):
        look_up = sharing.look_up

        async def broken(keys: Sequence[bytes]) -> Lookup[ModeResult]:
            await look_up(keys)  # the keys are held by now
            await looking.wait()
            raise IndexError

        with monkeypatch.context() as patched:
            patched.setattr(sharing, "look_up", broken)
            asked = [asyncio.create_task(scorer.score([candidate()], Options())) for _ in range(3)]
            while scorer.evaluator.flights < 12:
                await asyncio.sleep(0)
            await settle()
            looking.set()
            await asyncio.wait(asked, timeout=HUNG_S)
        answers = [task.exception() if task.done() else "waits" for task in asked]
        assert [type(answer) for answer in answers] == [IndexError] * 3
        assert (scorer.evaluator.flights, pool.holders) == (0, {}), "another process may judge them"
        [scored], _ = await scorer.score([candidate()], Options())
    assert {judgement.status for judgement in scored.judgements} == {"ok"}
