"""What a request's usage becomes in the metrics."""

import asyncio

import pytest

from service.api.request_metrics import record
from service.observability import Telemetry
from service.rubrics.aggregation import Score
from service.rubrics.judgement import Judgement, Source, Verdict, decide
from service.rubrics.rubric import Candidate, Criterion
from service.scoring.request import Usage
from service.scoring.results import Scored
from testkit.metrics_page import Page


async def test_each_question_is_a_miss_a_hit_or_a_join_of_one_place() -> None:
    telemetry = Telemetry()
    usage = Usage(judgements=1, cache_hits=5, shared_hits=2, deduplicated=7, awaited=3)
    summary = await record(telemetry, "a", "verdict", 0.5, [], usage)
    assert summary.numbers == {"items": 0, "judgements": 1, "cache_hits": 5, "tokens": 0}
    page = Page(telemetry.exposition().decode())
    assert page("rubricd_cache_misses_total") == 1
    assert [page("rubricd_cache_hits_total", tier=tier) for tier in ("memory", "redis")] == [3, 2]
    assert [page("rubricd_single_flight_joins_total", tier=tier) for tier in ("process", "replica")] == [4, 3]


async def test_only_a_group_of_two_or_more_is_counted_by_its_spread() -> None:
    telemetry = Telemetry()

    def member(value: float, group: str | None) -> Scored:
        return Scored(Candidate("x", (), "", (), group=group), (), (), Score(value, None, 1.0, "ok"))

    scored = [member(1.0, "alone"), member(1.0, None), member(1.0, None), member(0.0, "g"), member(1.0, "g")]
    await record(telemetry, "a", "verdict", 0.5, scored, Usage())
    page = Page(telemetry.exposition().decode())
    assert [page("rubricd_groups_total", spread=one) for one in ("varied", "zero", "unjudged")] == [1, 0, 0]


@pytest.mark.parametrize("responses", [1, 3, 40])
async def test_a_large_request_is_counted_in_parts_and_whole(responses: int) -> None:
    telemetry, turns = Telemetry(), 0
    judgement = Judgement(status="ok", source="judge", met=True, p=0.9, p_raw=0.9, label_mass=1.0)
    criteria = tuple(Criterion(str(n), "a", 1.0) for n in range(300))
    candidate = Candidate("x", (), "", criteria, group="g")
    one = Scored(candidate, criteria, (judgement,) * 300, Score(1.0, (1.0, 1.0), 1.0, "ok"))
    recording = asyncio.create_task(record(telemetry, "a", "verdict", 0.5, [one] * responses, Usage()))
    while not recording.done():
        turns += 1
        await asyncio.sleep(0)
    page = Page(telemetry.exposition().decode())
    assert page("rubricd_judgements_total", mode="verdict", outcome="met", source="judge") == 300 * responses
    assert page("rubricd_items_total", team="a", status="ok") == responses
    assert page("rubricd_groups_total", spread="zero") == (responses > 1)
    assert (turns > 3) == (responses == 40)


async def test_a_fresh_verdict_at_the_threshold_is_a_tie() -> None:
    def judged(p: float, source: Source = "judge") -> Judgement:
        return decide(Verdict(p, 1.0), threshold=0.7, mass_floor=0.5, source=source)

    judgements = (judged(0.7), judged(0.5), judged(0.7, "cache"), judged(0.7), judged(0.7000001))
    assert [one.met for one in judgements] == [True, False, True, True, True]
    telemetry = Telemetry()
    assert Page(telemetry.exposition().decode())("rubricd_threshold_ties_total") == 0
    criteria = tuple(Criterion(str(n), "a", 1.0) for n in range(5))
    one = Scored(Candidate("x", (), "", criteria), criteria, judgements, Score(1.0, (1.0, 1.0), 1.0, "ok"))
    await record(telemetry, "a", "verdict", 0.7, [one], Usage())
    assert Page(telemetry.exposition().decode())("rubricd_threshold_ties_total") == 2
