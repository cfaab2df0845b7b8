"""One request that was admitted: its results as they finish, and nothing held once nobody listens."""

import asyncio
import gc
import threading
import time
from collections.abc import Sequence

import pytest

from service.clock import ManualClock, settle
from service.engine.base import Prompt
from service.engine.fake import FakeEngine, FaultPlan
from service.modes.modes import Query, render_prompts
from service.prompting.renderer import Renderer
from service.scoring.request import Options
from service.settings import SchedulingSettings
from testkit.waiting import HUNG_S
from tests.service.scoring.shared import Pool, replica
from tests.service.scoring.test_scorer import candidate, until_asked


async def test_results_come_in_the_order_of_finishing() -> None:
    clock, pool = ManualClock(), Pool()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    limits = SchedulingSettings(max_batch_tokens=1, max_in_flight=1)
    async with replica(engine, pool, clock, limits) as (scorer, _):
        known = asyncio.create_task(scorer.score([candidate("third", 2)], Options()))
        await until_asked(engine)
        await clock.advance(5.0)
        await known
        begun = await scorer.start([candidate("first", 3), candidate("second", 1), candidate("third", 2)], Options())
        order: list[tuple[float, int]] = []

        async def listen() -> None:
            async for place, _ in begun.scored():
                order.append((clock.now(), place))

        listening = asyncio.create_task(listen())
        await clock.advance(20.0)
        await listening
    assert [place for _, place in order] == [2, 0, 1]
    assert order[0][0] < order[1][0] < order[2][0]
    assert begun.usage.cache_hits == 2


async def test_who_stops_listening_frees_what_is_open() -> None:
    clock, pool = ManualClock(), Pool()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with replica(engine, pool, clock, SchedulingSettings(max_batch_tokens=1, max_in_flight=1)) as (scorer, _):
        begun = await scorer.start([candidate(f"Response {n}.", 1) for n in range(5)], Options())
        results = begun.scored()
        first = asyncio.ensure_future(anext(results))
        await until_asked(engine)
        await clock.advance(1.5)
        assert (await first)[0] == 0
        await results.aclose()
        await settle()
        assert scorer.evaluator.flights == 0
        await clock.advance(20.0)
    assert engine.prompts == 2
    assert pool.holders == {}


async def test_who_is_closed_twice_leaves_what_another_waits_for() -> None:
    clock, pool = ManualClock(), Pool()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with replica(engine, pool, clock) as (scorer, _):
        leaving = await scorer.start([candidate(criteria=3)], Options(deadline_s=0.5))
        staying = asyncio.create_task(scorer.score([candidate(criteria=3)], Options()))
        await until_asked(engine)
        listening = asyncio.ensure_future(anext(leaving.scored()))
        await clock.advance(0.5)
        await listening
        leaving.close()
        leaving.close()
        await clock.advance(5.0)
        [scored], usage = await staying
    assert usage.deduplicated == 3
    assert {judgement.status for judgement in scored.judgements} == {"ok"}


async def test_at_the_deadline_everybody_has_a_result_and_what_is_open_a_reason() -> None:
    clock, pool = ManualClock(), Pool()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with replica(engine, pool, clock, SchedulingSettings(max_batch_tokens=1, max_in_flight=1)) as (scorer, _):
        asked = [candidate(f"Response {n}.", 1) for n in range(5)]
        request = asyncio.create_task(scorer.score(asked, Options(deadline_s=2.5)))
        await until_asked(engine)
        await clock.advance(3.0)
        scored, _ = await request
    assert [one.judgements[0].status for one in scored] == ["ok", "ok", "timeout", "timeout", "timeout"]


@pytest.mark.parametrize("ends_by", ["deadline", "leaving"])
async def test_rendering_that_takes_too_long_holds_up_no_answer(monkeypatch: pytest.MonkeyPatch, ends_by: str) -> None:
    clock, engine, go_on, rendering = ManualClock(), FakeEngine(), threading.Event(), threading.Event()

    def slowly(renderer: Renderer, queries: Sequence[Query], salt: str, priority: int) -> list[Prompt]:
        rendering.set()
        go_on.wait(HUNG_S)
        return render_prompts(renderer, queries, salt, priority)

    monkeypatch.setattr("service.scoring.prompt_work.render_prompts", slowly)
    async with replica(engine, Pool(), clock) as (scorer, _):
        request = asyncio.create_task(scorer.score([candidate(criteria=3)], Options(deadline_s=1.0)))
        await asyncio.to_thread(rendering.wait, 30)
        if ends_by == "deadline":
            await clock.advance(1.0)
            [scored], _ = await request
            assert {one.status for one in scored.judgements} == {"timeout"}
        else:
            request.cancel()
        await settle()
        assert scorer.evaluator.flights == 0
        go_on.set()
        while scorer.evaluator.starting:
            await asyncio.sleep(0.001)
        await settle()
    assert engine.prompts == 0


async def ticking(longest: list[float]) -> None:
    """The most CPU time that the event loop's thread spends in one turn."""
    last_s = time.thread_time()
    while True:
        await asyncio.sleep(0)
        now_s = time.thread_time()
        longest[0], last_s = max(longest[0], now_s - last_s), now_s


@pytest.mark.parametrize("known", [True, False])
async def test_20_000_judgements_leave_the_event_loop_to_others_every_few_milliseconds(known: bool) -> None:
    engine, longest = FakeEngine(), [0.0]
    asked = [candidate("The same response.", 40)] * 500
    async with replica(engine, Pool()) as (scorer, _):
        if known:
            await scorer.score(asked[:1], Options())
        gc.collect()
        gc.freeze()  # as the service does when it is ready
        watching = asyncio.create_task(ticking(longest))
        begun = await scorer.start(asked, Options())
        scored = [one async for _, one in begun.scored()]
        watching.cancel()
    assert len(scored) == 500
    assert engine.prompts == 40
    assert begun.usage.cache_hits + begun.usage.deduplicated == 20_000 - (0 if known else 40)
    # It rests every 3 ms; the rest of this is for a full collection, and for a machine that is slower than ours.
    assert longest[0] < 0.05


async def test_a_caller_that_leaves_in_any_turn_of_the_loop_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every rest is taken, so that a cancellation finds the request in all of them: 150 of 150."""
    monkeypatch.setattr("service.clock._TURN_S", -1.0)
    clock, pool = ManualClock(), Pool()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with replica(engine, pool, clock, SchedulingSettings(max_batch_tokens=1, max_in_flight=1)) as (scorer, _):
        for turns in range(150):
            asked = [candidate(f"{turns} {n}", 3) for n in range(4)]
            request = asyncio.create_task(scorer.score(asked, Options()))
            for n in range(turns):
                await asyncio.sleep(0.001 if n == 20 else 0)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            while scorer.evaluator.starting:
                await asyncio.sleep(0.001)
            await settle(3)
            assert scorer.evaluator.flights == 0
        await clock.advance(1000.0)
        assert scorer.load_tokens == 0
    assert pool.holders == {}
