"""Questions that other processes know, or are asking; tokens set aside; leases that always end."""

import asyncio
from dataclasses import dataclass, field

import pytest

from service.clock import ManualClock, settle
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import Overloaded, QuotaExceeded, Unavailable
from service.scheduling import Limits, Tenant
from service.scoring.request import Options
from tests.service.scoring.shared import Pool, replica
from tests.service.scoring.test_scorer import candidate, truth, until_asked


@dataclass
class Purse:
    """Counts what is set aside and what is settled."""

    room: int = 10**9
    reserved: list[int] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)

    async def reserve(self, tokens: int) -> "Purse":
        await asyncio.sleep(0)
        if tokens > self.room:
            raise QuotaExceeded("the team's quota is used up", 7.0)
        self.reserved.append(tokens)
        return self

    def settle(self, used_tokens: int) -> None:
        self.settled.append(used_tokens)


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


async def test_what_is_set_aside_is_settled_once_by_what_it_took() -> None:
    purse, pool, engine = Purse(), Pool(), FakeEngine()
    options = Options(reserve=purse.reserve, tenant=Tenant("a"))
    async with replica(engine, pool) as (scorer, _):
        await scorer.score([candidate(), candidate("Other.")], options)
        await scorer.score([candidate()], options)
    assert len(purse.reserved) == 1  # the second request computes nothing
    assert purse.settled == [engine.tokens]
    assert 0 < purse.reserved[0] < engine.tokens  # a shared prefix is set aside once


async def test_what_the_engine_has_when_its_caller_leaves_is_paid_for_and_what_waits_is_not() -> None:
    clock, pool, purse = ManualClock(), Pool(), Purse()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with replica(engine, pool, clock, Limits(max_batch_tokens=1, max_in_flight=1)) as (scorer, _):
        leaving = asyncio.create_task(scorer.score([candidate(criteria=5)], Options(reserve=purse.reserve)))
        await until_asked(engine)
        leaving.cancel()
        await settle()
    [used] = purse.settled
    assert used == len(engine.seen_ids[0])
    assert used < purse.reserved[0]


async def test_a_quota_refuses_the_whole_request_before_anything_is_asked() -> None:
    pool, engine = Pool(), FakeEngine()
    async with replica(engine, pool) as (scorer, _):
        with pytest.raises(QuotaExceeded) as refused:
            await scorer.score([candidate()], Options(reserve=Purse(room=10).reserve))
        assert scorer._evaluator.flights == 0
    assert refused.value.retry_after_s == 7.0
    assert (engine.prompts, pool.holders) == (0, {})


async def test_who_joined_a_refused_question_is_told_so_and_not_refused() -> None:
    pool, engine, purse = Pool(), FakeEngine(), Purse(room=10)
    async with replica(engine, pool) as (scorer, _):
        refused, joined = await asyncio.gather(
            scorer.score([candidate()], Options(reserve=purse.reserve)),
            scorer.score([candidate()], Options(min_coverage=0.0)),
            return_exceptions=True,
        )
    assert isinstance(refused, QuotaExceeded)
    assert not isinstance(joined, BaseException)
    assert {(j.status, j.met) for j in joined[0][0].judgements} == {("overloaded", None)}


async def test_a_caller_that_leaves_settles_what_was_set_aside_in_100_of_100_trials() -> None:
    clock, pool = ManualClock(), Pool()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    purse = Purse()
    async with replica(engine, pool, clock) as (scorer, _):
        for n in range(100):
            one = candidate(f"Response {n}.")
            request = asyncio.create_task(scorer.score([one], Options(reserve=purse.reserve)))
            for _ in range(n % 7):
                await asyncio.sleep(0.001)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            while scorer._evaluator.starting:
                await asyncio.sleep(0.001)
        await settle()
        assert scorer._evaluator.flights == 0
    assert len(purse.settled) == len(purse.reserved) > 0
    assert pool.holders == {}


@pytest.mark.parametrize("stays", [True, False])
async def test_who_leaves_while_tokens_are_set_aside_leaves_nothing_behind(stays: bool) -> None:
    pool, engine, purse = Pool(), FakeEngine(), Purse()
    asked, allowed = asyncio.Event(), asyncio.Event()

    async def slowly(tokens: int) -> Purse:
        asked.set()
        await allowed.wait()
        return await purse.reserve(tokens)

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
    assert len(purse.settled) == len(purse.reserved) == 1
    assert pool.holders == {}


async def test_what_the_queue_refuses_gets_back_what_was_set_aside() -> None:
    pool, engine, purse = Pool(), FakeEngine(), Purse()

    async def and_then_it_dies(tokens: int) -> Purse:
        engine.down = "the engine died"
        return await purse.reserve(tokens)

    async with replica(engine, pool) as (scorer, _):
        with pytest.raises(Unavailable):
            await scorer.score([candidate()], Options(reserve=and_then_it_dies))
    assert (len(purse.reserved), purse.settled) == (1, [0])
    assert pool.holders == {}


async def test_what_surely_has_no_room_is_refused_before_it_is_rendered_or_set_aside() -> None:
    clock, pool, purse = ManualClock(), Pool(), Purse()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    limits = Limits(max_batch_tokens=1, max_in_flight=1, max_queued_tokens=400)
    async with replica(engine, pool, clock, limits) as (scorer, _):
        first = asyncio.create_task(scorer.score([candidate()], Options()))
        await until_asked(engine)
        refused = asyncio.create_task(scorer.score([candidate("long " * 400)], Options(reserve=purse.reserve)))
        await settle()  # and no thread has been waited for
        assert isinstance(refused.exception(), Overloaded)
        assert purse.reserved == []
        first.cancel()
        await settle()
    assert pool.holders == {}
