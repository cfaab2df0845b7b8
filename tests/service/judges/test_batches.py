"""Compositions and `batch: all`: panels pass it to members that serve it, and what cannot be asked so is refused."""

from collections.abc import Sequence

import pytest

from service.clock import ManualClock
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import InvalidRequest
from service.judges.composed_scorer import ComposedScorer
from service.judges.composition import Member
from service.judges.judge import Judging
from service.judges.panel import Panel
from service.judges.router import Router
from service.modes.served_modes import BATCHED
from service.rubrics.judgement import Judgement
from service.scoring.request import Options
from service.scoring.scorer import Scorer
from tests.service.judges.engines import candidate, members

TOGETHER = Options(mode="reasoned", batch="all")


async def judged(judging: Judging) -> Sequence[Judgement]:
    """Of the one candidate."""
    [found] = [one async for _, one in judging.judged()]
    return found


async def test_a_panel_asks_each_member_for_one_document() -> None:
    engines = [FakeEngine(seed=n) for n in range(2)]
    clock = ManualClock()
    async with members(engines, clock) as (found, rules):
        panel = ComposedScorer(Panel("p", "mean", 2, found), rules, clock)
        [scored], usage = await panel.score([candidate()], TOGETHER)
        alone = [await member.judge.ask([candidate()], TOGETHER) for member in found]  # from their caches
        said = [await judged(one) for one in alone]
        identity = panel.judging_modes.choose(*TOGETHER.way).judge
    assert [engine.prompts for engine in engines] == [5, 5] and usage.judgements == 8
    for place, judgement in enumerate(scored.judgements):
        assert [one.p for _, one in judgement.members] == [column[place].p for column in said]
    assert identity.batch == "all" and {member.batch for member in identity.members} == {"all"}
    assert identity.fingerprint != panel.judging_modes.choose("reasoned", "rubricd", None).judge.fingerprint


async def test_a_member_that_does_not_serve_it_is_named() -> None:
    clock = ManualClock()
    async with members([FakeEngine(), FakeEngine(seed=1)], clock) as (found, rules):
        other = found[1].judge
        assert isinstance(other, Scorer)
        other.judging_modes = other.judging_modes.without({BATCHED: "it writes one verdict at a time"})
        panel = ComposedScorer(Panel("p", "mean", 2, found), rules, clock)
        with pytest.raises(InvalidRequest, match=r"judge `m1`: .*it writes one verdict at a time.*leave `batch` out"):
            await panel.start([candidate()], TOGETHER)
        [scored], _ = await panel.score([candidate()], Options(mode="reasoned"))
    assert all(judgement.ok for judgement in scored.judgements)


async def test_a_routed_judge_batches_what_each_member_is_asked() -> None:
    engine = FakeEngine()
    clock = ManualClock()
    async with members([engine], clock) as (found, rules):
        routed = ComposedScorer(Router("r", [], [0], [Member("m0", found[0].judge)]), rules, clock)
        [scored], _ = await routed.score([candidate()], TOGETHER)
    assert engine.prompts == 5 and all(judgement.ok for judgement in scored.judgements)


async def test_of_100_requests_with_faults_no_verdict_is_invented() -> None:
    """What a faulty member says in a batch is what it says there without faults, or a status."""
    clock = ManualClock()
    rates = {"batch": 0.05, "some": 0.2, "nan": 0.1, "low_mass": 0.1, "truncated": 0.1, "garbage": 0.1}
    engines = [FakeEngine(), FakeEngine(plan=FaultPlan(rates=rates))]  # type: ignore[arg-type]
    ok = missing = invented = 0
    async with members(engines, clock) as (found, _):
        for n in range(100):
            asked = candidate(f"Response number {n}.")
            columns = []
            for member in found:
                columns.append(await judged(await member.judge.ask([asked], TOGETHER)))
            for healthy, faulty in zip(*columns, strict=True):
                ok += faulty.ok
                missing += not faulty.ok
                invented += faulty.ok and faulty != healthy
                invented += not faulty.ok and (faulty.met, faulty.p) != (None, None)
    assert invented == 0 and ok > 100 and missing > 100
