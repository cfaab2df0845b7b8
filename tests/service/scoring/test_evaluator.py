"""Queries are judged once, and refused before the work where they have surely no place."""

import asyncio
from collections.abc import Sequence

import pytest

from service.clock import ManualClock, settle
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import Overloaded, QuotaExceeded
from service.modes.modes import Query
from service.scheduling import Scheduler, Tenant
from service.scoring import rendering
from service.scoring.request import Options
from service.settings import SchedulingSettings
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
    limits = SchedulingSettings(max_batch_tokens=1, max_in_flight=1, max_queued_tokens=2000)
    async with scoring(engine, clock, limits) as scorer:
        first = asyncio.create_task(scorer.score([candidate()], Options()))
        await until_asked(engine)  # an estimate is learned, and something waits
        options = Options(reserve=budget.reserve, tenant=Tenant("other"))
        requests = [asyncio.create_task(scorer.score([candidate(f"Response {n}.")], options)) for n in range(100)]
        await settle()
        refused = [request for request in requests if request.done()]
        assert 80 <= len(refused) < 100
        assert all(isinstance(request.exception(), Overloaded) for request in refused)
        assert scorer.evaluator.flights == 12 * (1 + len(requests) - len(refused))  # the refused began none
        for request in (first, *requests):
            request.cancel()
        await asyncio.gather(first, *requests, return_exceptions=True)
