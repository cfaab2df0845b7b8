"""Queries that another process knows or judges; leases end whatever happens."""

import asyncio

from service.clock import ManualClock, settle
from service.engine.fake import FakeEngine, FaultPlan
from service.scoring.request import Options
from tests.service.scoring.shared import Pool, replica
from tests.service.scoring.test_scorer import candidate, truth, until_asked


async def test_what_another_process_judged_is_a_cache_hit() -> None:
    pool, engine, other = Pool(), FakeEngine(), FakeEngine()
    async with replica(engine, pool) as (first, _), replica(other, pool) as (second, shared):
        await first.score([candidate()], Options())
        [scored], usage = await second.score([candidate()], Options())
        assert [j.p for j in scored.judgements] == truth(candidate())
        assert {j.source for j in scored.judgements} == {"cache"}
        await second.score([candidate()], Options())
    assert other.prompts == 0
    assert (usage.judgements, usage.cache_hits, usage.shared_hits) == (0, 12, 12)
    assert shared.looked_up == 1  # the second time its own memory knew


async def test_1000_identical_requests_over_two_processes_are_12_judgements() -> None:
    pool, engine = Pool(), FakeEngine()
    async with replica(engine, pool) as (first, _), replica(engine, pool) as (second, _):
        requests = [(first, second)[n % 2].score([candidate()], Options()) for n in range(1000)]
        answers = await asyncio.gather(*requests)
    assert engine.prompts == 12
    assert {tuple(j.p for j in scored[0].judgements) for scored, _ in answers} == {tuple(truth(candidate()))}
    assert sum(usage.judgements for _, usage in answers) == 12
    assert sum(usage.deduplicated + usage.cache_hits for _, usage in answers) == 12 * 999
    assert pool.holders == {}


async def test_what_another_process_gives_up_is_judged_here() -> None:
    pool, engine = Pool(), FakeEngine()
    broken = FakeEngine(plan=FaultPlan(script=("batch",)))
    async with replica(broken, pool) as (first, _), replica(engine, pool) as (second, _):
        [failed, scored] = await asyncio.gather(
            first.score([candidate()], Options(min_coverage=0.0)), second.score([candidate()], Options())
        )
    assert {j.status for j in failed[0][0].judgements} == {"engine_error"}
    assert [j.p for j in scored[0][0].judgements] == truth(candidate())
    assert scored[1].judgements == 12
    assert pool.holders == {}


async def test_who_began_in_another_process_may_leave_in_200_of_200_trials() -> None:
    clock, pool = ManualClock(), Pool()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    answered = 0
    async with replica(engine, pool, clock) as (first, _), replica(engine, pool, clock) as (second, _):
        for n in range(200):
            one, asked = candidate(f"Response {n}.", 2), engine.calls
            leader = asyncio.create_task(first.score([one], Options()))
            while engine.calls == asked:
                await asyncio.sleep(0)
            follower = asyncio.create_task(second.score([one], Options()))
            await settle()
            leader.cancel()
            while not follower.done():
                await asyncio.sleep(0)
                await clock.advance(1.0)
            [scored], _ = follower.result()
            answered += [j.p for j in scored.judgements] == truth(one)
    assert answered == 200
    assert pool.holders == {}


async def test_who_watches_and_leaves_is_forgotten_and_nothing_stays_held() -> None:
    clock, pool = ManualClock(), Pool()
    slow = FakeEngine(plan=FaultPlan(batch_s=10.0), sleep=clock.sleep)
    async with replica(slow, pool, clock) as (first, _), replica(slow, pool, clock) as (second, shared):
        leading = asyncio.create_task(first.score([candidate()], Options()))
        await until_asked(slow)
        watching = asyncio.create_task(second.score([candidate()], Options()))
        await settle()
        assert len(shared.watched) == 12
        watching.cancel()
        await settle()
        assert shared.watched == {}
        leading.cancel()
        await settle()
    assert pool.holders == {}
    assert slow.prompts == 12


async def test_a_drain_waits_for_what_another_process_judges_and_then_ends_it() -> None:
    clock, pool = ManualClock(), Pool()
    slow = FakeEngine(plan=FaultPlan(script=("ok", "hang"), batch_s=1.0), sleep=clock.sleep)
    async with replica(slow, pool, clock) as (first, _), replica(slow, pool, clock) as (second, shared):
        scorings = []
        for n, response in enumerate(("soon", "never")):
            scorings.append(asyncio.create_task(first.score([candidate(response, 2)], Options())))
            await until_asked(slow, n + 1)
        options = Options(min_coverage=0.0)
        requests = [asyncio.create_task(second.score([candidate(r, 2)], options)) for r in ("soon", "never")]
        while len(shared.watched) < 4:
            await asyncio.sleep(0)
        draining = asyncio.create_task(second.drain(5.0))
        await clock.advance(4.0)
        assert (requests[0].done(), requests[1].done(), draining.done()) == (True, False, False)
        await clock.advance(2.0)
        await draining
        ended = [(await request)[0][0].judgements[0].status for request in requests]
        for scoring in scorings:
            scoring.cancel()
        await settle()
    assert ended == ["ok", "cancelled"]
