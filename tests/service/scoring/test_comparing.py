"""Pairs over the real queue and cache, with the fake engine as oracle."""

import asyncio
from collections import Counter

import pytest

from service.engine.fake import FakeEngine, Fault, FaultPlan
from service.errors import Overloaded
from service.modes.comparison import Pair
from service.rubrics.rubric import Candidate, Criterion, Turn
from service.scoring.request import RequestContext, Usage
from service.settings import SchedulingSettings
from tests.service.scoring.test_scorer import scoring

TURNS = (Turn("user", "My knee hurts."),)
RUBRIC = (Criterion("0", "Says to rest.", 2.0),)


def pair(a: str, b: str = "Run.") -> Pair:
    return Pair(Candidate("0", TURNS, a, RUBRIC), Candidate("0", TURNS, b, RUBRIC))


async def test_each_order_is_a_judgement_and_a_swapped_pair_is_known() -> None:
    async with scoring(FakeEngine()) as scorer:
        first, second = Usage(), Usage()
        there = await scorer.compare([pair("Rest.")], RequestContext(), first)
        back = await scorer.compare([pair("Run.", "Rest.")], RequestContext(), second)
    assert (first.judgements, second.judgements, second.cache_hits) == (2, 0, 2)
    assert there[0].preference is not None and back[0].preference is not None
    assert there[0].preference.p + back[0].preference.p == 1.0
    assert [order.source for order in back[0].orders] == ["cache", "cache"]


async def test_under_faults_a_pair_has_a_preference_or_a_reason_600_of_600() -> None:
    rates: dict[Fault, float] = {"some": 0.2, "nan": 0.2, "low_mass": 0.2}
    statuses: Counter[str] = Counter()
    async with scoring(FakeEngine(plan=FaultPlan(rates=rates))) as scorer:
        for batch in range(6):
            asked = [pair(f"Rest {batch} {n}.") for n in range(100)]
            found = await scorer.compare(asked, RequestContext(), Usage())
            for one in found:
                statuses[one.status] += 1
                decided = one.status == "ok"
                given = all(order.verdict is not None for order in one.orders)
                assert given == (one.status in ("ok", "abstained")) == (one.preference is not None)
                assert decided == (one.detail is None)
    assert statuses.total() == 600
    assert set(statuses) == {"ok", "abstained", "engine_error", "unparseable"}


async def test_a_full_queue_refuses_all_pairs_and_leaves_nothing_open() -> None:
    engine = FakeEngine(plan=FaultPlan(rates={"hang": 1.0}))
    limits = SchedulingSettings(max_batch_tokens=1, max_queued_tokens=2_000, max_in_flight=1)
    async with scoring(engine, limits=limits) as scorer:
        first = asyncio.create_task(scorer.compare([pair("Sit."), pair("Lie.")], RequestContext(), Usage()))
        while not engine.calls:
            await asyncio.sleep(0.001)
        open_before = scorer.evaluator.flights
        with pytest.raises(Overloaded):
            await scorer.compare([pair(f"Rest {n}.") for n in range(40)], RequestContext(), Usage())
        assert scorer.evaluator.flights == open_before == 4
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert scorer.evaluator.flights == 0
