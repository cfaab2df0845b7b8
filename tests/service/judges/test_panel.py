"""Tests of panels whose members fail, are refused or are too slow: nothing is invented, and nothing is left running."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from service.clock import ManualClock, settle
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import InvalidRequest, Overloaded, QuotaExceeded, Unavailable
from service.judges.composed_scorer import ComposedScorer
from service.judges.panel import Panel
from service.judges.panel_judgement import PanelRule, joint
from service.scoring.request import Options
from service.settings import SchedulingSettings
from tests.service.judges.engines import candidate, flights, members, truth
from tests.service.scoring.shared import Budget

RATES = {"batch": 0.05, "crash": 0.05, "some": 0.1, "few": 0.05, "many": 0.05, "nan": 0.1, "low_mass": 0.1}
RULES: tuple[PanelRule, ...] = ("mean", "majority", "unanimous")


async def test_1000_requests_while_members_fail_and_are_killed_hold_no_invented_verdict() -> None:
    """Each verdict is the rule's of what the members' own oracles say; each missing one has a status; a request is
    refused only while fewer members than the quorum can be asked."""
    clock = ManualClock()
    faulty = FaultPlan(rates=RATES, batch_s=0.01)  # type: ignore[arg-type]
    engines = [FakeEngine(seed=n, plan=faulty, sleep=clock.sleep) for n in range(3)]
    counts: Counter[str] = Counter()
    async with members(engines, clock, SchedulingSettings(max_batch_tokens=2048)) as (found, rules):
        for round in range(20):
            rule = RULES[round % 3]
            panel = ComposedScorer(Panel("p", rule, 2, found), rules, clock)
            killed = round % 5  # none, one, or in two rounds of five two of the three
            for n, engine in enumerate(engines):
                engine.down = (
                    "it was killed" if n in {1: {0}, 2: {1}, 3: {0, 2}, 4: {1, 2}}.get(killed, set()) else None
                )
            await clock.advance(10.0)  # the queue looks at its engine again
            asked = [candidate(f"Response {round} {n}.", points=-1.0 if n % 2 else 1.0) for n in range(50)]
            options = Options(deadline_s=clock.now() + 60.0)
            requests = [asyncio.create_task(panel.score([one], options)) for one in asked]
            while not all(request.done() for request in requests):
                await asyncio.sleep(0.001)
                await clock.advance(0.05)
            for one, request in zip(asked, requests, strict=True):
                if request.exception() is not None:
                    assert isinstance(request.exception(), Unavailable | Overloaded), request.exception()
                    assert "judge `m" in str(request.exception())
                    counts["refused"] += 1
                    continue
                [scored], _ = request.result()
                truths = [truth(member, one, n) for n, member in enumerate(found)]
                for j, judgement in enumerate(scored.judgements):
                    given = [said.p for _, said in judgement.members if said.ok]
                    said_right = [truths[n][j] for n, (_, said) in enumerate(judgement.members) if said.ok]
                    counts["invented"] += given != said_right
                    if len(said_right) < 2:
                        counts["missing"] += 1
                        counts["invented"] += judgement.met is not None or judgement.p is not None or judgement.ok
                    else:
                        counts["degraded" if len(said_right) == 2 else "whole"] += 1
                        p = joint(said_right, rule, wanted=one.criteria[j].points > 0)
                        counts["invented"] += (judgement.p, judgement.met) != (p, p >= 0.5)
        await settle()
        assert flights(found) == 0
    assert counts["invented"] == 0
    assert min(counts["whole"], counts["degraded"], counts["missing"], counts["refused"]) > 100, counts


async def test_a_member_that_cannot_be_asked_is_missing_while_there_is_a_quorum() -> None:
    clock, engines = ManualClock(), [FakeEngine(seed=n) for n in range(3)]
    engines[1].down = "it restarts"
    async with members(engines, clock) as (found, rules):
        panel = Panel("p", "mean", 2, found)
        assert (panel.unavailable_reason, panel.down) == (None, [("m1", "it restarts")])
        [scored], _ = await ComposedScorer(panel, rules, clock).score([candidate()], Options())
        for judgement in scored.judgements:
            assert [(name, said.status) for name, said in judgement.members] == [
                ("m0", "ok"),
                ("m1", "engine_error"),
                ("m2", "ok"),
            ]
            assert judgement.members[1][1].detail == "it was not asked: it restarts"
        whole = Panel("all", "mean", 3, found)
        assert whole.unavailable_reason == "1 of the 3 judges of panel `all` cannot judge: `m1`: it restarts"
        with pytest.raises(Unavailable, match="judge `m1`: it restarts"):
            await ComposedScorer(whole, rules, clock).score([candidate()], Options())
        await settle()
        assert flights(found) == 0, "what m0 had begun is released"


async def test_every_members_tokens_are_reserved_and_a_quota_ends_the_whole_request() -> None:
    clock, engines = ManualClock(), [FakeEngine(seed=n) for n in range(2)]
    async with members(engines, clock) as (found, rules):
        panel = ComposedScorer(Panel("p", "mean", 1, found), rules, clock)
        budget = Budget()
        _, usage = await panel.score([candidate()], Options(reserve=budget.reserve))
        assert len(budget.reserved) == 2 and sum(budget.settled) == usage.prompt_tokens
        assert usage.prompt_tokens == sum(engine.tokens for engine in engines)
        assert usage.judgements == 8 and panel.queries_each(Options()) == 2
        small = Budget(left=1)
        with pytest.raises(QuotaExceeded):
            await panel.score([candidate("Another.")], Options(reserve=small.reserve))


async def test_a_caller_that_leaves_frees_its_place_at_every_member() -> None:
    clock = ManualClock()
    engines = [FakeEngine(seed=n, plan=FaultPlan(batch_s=5.0), sleep=clock.sleep) for n in range(2)]
    async with members(engines, clock) as (found, rules):
        panel = ComposedScorer(Panel("p", "mean", 2, found), rules, clock)
        asking = asyncio.create_task(panel.score([candidate(), candidate("Run.")], Options()))
        while min(engine.calls for engine in engines) < 1:
            await asyncio.sleep(0.001)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await settle()
        assert flights(found) == 0


async def test_at_the_deadline_a_slow_member_is_missing_and_a_fast_one_is_not() -> None:
    clock = ManualClock()
    engines = [FakeEngine(seed=0), FakeEngine(seed=1, plan=FaultPlan(batch_s=60.0), sleep=clock.sleep)]
    async with members(engines, clock) as (found, rules):
        panel = ComposedScorer(Panel("p", "mean", 1, found), rules, clock)
        asking = asyncio.create_task(panel.score([candidate()], Options(deadline_s=clock.now() + 5.0)))
        while min(engine.calls for engine in engines) < 1:  # prompts are made in a thread
            await asyncio.sleep(0.001)
        await settle()
        while not asking.done():
            await asyncio.sleep(0.001)
            await clock.advance(0.5)
        [scored], _ = asking.result()
    assert {(said.status, ok.status) for (_, ok), (_, said) in (one.members for one in scored.judgements)} == {
        ("timeout", "ok")
    }
    assert [one.p for one in scored.judgements] == [one.members[0][1].p for one in scored.judgements]


async def test_what_one_member_does_not_serve_the_panel_does_not_either() -> None:
    clock, engines = ManualClock(), [FakeEngine(seed=n) for n in range(2)]
    async with members(engines, clock) as (found, rules):
        panel = ComposedScorer(Panel("p", "mean", 1, found), rules, clock)
        with pytest.raises(InvalidRequest, match="likert"):
            await panel.score([candidate()], Options(mode="likert"))
        with pytest.raises(InvalidRequest, match="judge `m0`: layout `healthbench` has no place for a `reference`"):
            await panel.score([replace(candidate(), reference="Rest.")], Options(mode="reasoned", layout="healthbench"))
