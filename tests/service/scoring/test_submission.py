"""Tokens are reserved before the work and settled once; what refuses leaves nothing behind."""

import asyncio

import pytest

from service.clock import ManualClock, settle
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import QuotaExceeded, Unavailable
from service.scheduling import Tenant
from service.scoring.request import Options
from service.settings import SchedulingSettings
from tests.service.scoring.shared import Budget, Pool, replica
from tests.service.scoring.test_scorer import candidate, truth, until_asked


async def test_what_is_reserved_is_settled_once_by_what_it_took() -> None:
    budget, pool, engine = Budget(), Pool(), FakeEngine()
    options = Options(reserve=budget.reserve, tenant=Tenant("a"))
    async with replica(engine, pool) as (scorer, _):
        await scorer.score([candidate(), candidate("Other.")], options)
        await scorer.score([candidate()], options)
    assert len(budget.reserved) == 1  # the second request computes nothing
    assert budget.settled == [engine.tokens]
    assert 0 < budget.reserved[0] < engine.tokens  # a shared prefix is reserved once


async def test_a_prefix_is_reserved_as_often_as_it_is_computed() -> None:
    """With batches of one query an engine that keeps no prefix computes it for each, and a quota pays for that."""
    budget, pool, engine = Budget(), Pool(), FakeEngine()
    async with replica(engine, pool, limits=SchedulingSettings(max_batch_tokens=1)) as (scorer, _):
        await scorer.score([candidate()], Options(reserve=budget.reserve))
    assert (engine.calls, budget.reserved, budget.settled) == (12, [engine.tokens], [engine.tokens])


async def test_what_the_engine_has_when_its_caller_leaves_is_paid_for_and_what_waits_is_not() -> None:
    clock, pool, budget = ManualClock(), Pool(), Budget()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with replica(engine, pool, clock, SchedulingSettings(max_batch_tokens=1, max_in_flight=1)) as (scorer, _):
        leaving = asyncio.create_task(scorer.score([candidate(criteria=5)], Options(reserve=budget.reserve)))
        await until_asked(engine)
        leaving.cancel()
        await settle()
    [used] = budget.settled
    assert used == len(engine.seen_ids[0])
    assert used < budget.reserved[0]


async def test_a_quota_refuses_the_whole_request_before_anything_is_asked() -> None:
    pool, engine = Pool(), FakeEngine()
    async with replica(engine, pool) as (scorer, _):
        with pytest.raises(QuotaExceeded) as refused:
            await scorer.score([candidate()], Options(reserve=Budget(left=10).reserve))
        assert scorer.evaluator.flights == 0
    assert refused.value.retry_after_s == 7.0
    assert (engine.prompts, pool.holders) == (0, {})


async def test_where_nothing_is_left_of_a_quota_nothing_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[object] = []
    monkeypatch.setattr("service.scoring.prompt_work.render_prompts", lambda *args: rendered.append(args))
    async with replica(FakeEngine(), Pool()) as (scorer, _):
        with pytest.raises(QuotaExceeded):
            await scorer.score([candidate()], Options(reserve=Budget(left=0).reserve))
    assert rendered == []


async def test_a_caller_that_leaves_settles_what_was_reserved_in_100_of_100_trials() -> None:
    clock, pool = ManualClock(), Pool()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    budget = Budget()
    async with replica(engine, pool, clock) as (scorer, _):
        for n in range(100):
            one = candidate(f"Response {n}.")
            request = asyncio.create_task(scorer.score([one], Options(reserve=budget.reserve)))
            for _ in range(n % 7):
                await asyncio.sleep(0.001)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            while scorer.evaluator.starting:
                await asyncio.sleep(0.001)
        await settle()
        assert scorer.evaluator.flights == 0
    assert len(budget.settled) == len(budget.reserved) > 0
    assert pool.holders == {}


@pytest.mark.parametrize("stays", [True, False])
async def test_who_leaves_while_tokens_are_reserved_leaves_nothing_behind(stays: bool) -> None:
    pool, engine, budget = Pool(), FakeEngine(), Budget()
    asked, allowed = asyncio.Event(), asyncio.Event()

    async def slowly(tokens: int) -> Budget:
        if tokens > 1:  # else it is the look at what is left, before anything is rendered
            asked.set()
            await allowed.wait()
        return await budget.reserve(tokens)

    async with replica(engine, pool) as (scorer, _):
        leaving = asyncio.create_task(scorer.score([candidate(criteria=3)], Options(reserve=slowly)))
        await asked.wait()
        others = [asyncio.create_task(scorer.score([candidate(criteria=1)], Options()))] if stays else []
        await settle()
        leaving.cancel()
        await settle()
        allowed.set()
        for other in others:
            [scored], _ = await other
            assert [j.p for j in scored.judgements] == truth(candidate())[:1]
        await settle()
    assert engine.prompts == len(others)
    assert len(budget.settled) == len(budget.reserved) == 1
    assert pool.holders == {}


async def test_what_the_queue_refuses_gets_back_what_was_reserved() -> None:
    pool, engine, budget = Pool(), FakeEngine(), Budget()

    async def reserve_and_die(tokens: int) -> Budget:
        engine.down = "the engine died"
        return await budget.reserve(tokens)

    async with replica(engine, pool) as (scorer, _):
        with pytest.raises(Unavailable):
            await scorer.score([candidate()], Options(reserve=reserve_and_die))
    assert (len(budget.reserved), budget.settled) == (1, [0])
    assert pool.holders == {}
