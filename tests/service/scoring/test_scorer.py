"""The orchestrator over the real queue, cache and rules, with the fake engine as oracle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from service.cache.memory import MemoryCache
from service.clock import ManualClock, settle
from service.engine.fake import FakeEngine, FaultPlan, oracle
from service.errors import Overloaded
from service.modes.escalation import Escalation
from service.modes.label_verdict import read_verdict
from service.modes.modes import ModeResult
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import ChatTokenizer, Segmenter
from service.rubrics.rubric import Candidate, Criterion, Rule, Turn
from service.scheduling import Scheduler
from service.scoring.evaluator import Evaluator
from service.scoring.request import Options
from service.scoring.scorer import Scorer
from service.settings import ModeSettings, RuleSettings, SchedulingSettings
from service.verifiers.pool import RulePool
from testkit.remembered_modes import remembered_modes
from testkit.tokenizer_families import family
from testkit.waiting import HUNG_S

LIMITS = SchedulingSettings()
MANNER = ModeSettings()
RENDERER = Renderer(Segmenter(family("qwen")), build_skeleton(family("qwen")))


@asynccontextmanager
async def scoring(
    engine: FakeEngine,
    clock: ManualClock | None = None,
    limits: SchedulingSettings = LIMITS,
    mode_settings: ModeSettings = MANNER,
    tokenizer: ChatTokenizer | None = None,
) -> AsyncIterator[Scorer]:
    clock = clock or ManualClock()
    scheduler = Scheduler(engine, clock, limits)
    scheduler.start()
    rules = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=HUNG_S))
    evaluator = Evaluator(scheduler, MemoryCache[ModeResult](10_000))
    asked = remembered_modes(engine.identity, tokenizer or family("qwen"), mode_settings)
    yield Scorer(
        judging_modes=asked,
        evaluator=evaluator,
        scheduler=scheduler,
        rules=rules,
        clock=clock,
        escalation=Escalation.of(mode_settings),
    )
    await scheduler.drain(0)
    await rules.stop()


def candidate(response: str = "Rest it.", criteria: int = 12) -> Candidate:
    return Candidate(
        id=response,
        turns=(Turn("user", "My knee hurts."),),
        response=response,
        criteria=tuple(Criterion(id=str(n), text=f"Criterion number {n}.", points=1.0) for n in range(criteria)),
    )


def truth(asked: Candidate) -> list[float]:
    """P(met) of each criterion as the oracle has it."""
    [prompts] = RENDERER.render([(asked, asked.criteria)])
    return [read_verdict(oracle(prompt.ids)).p_met for prompt in prompts]


async def until_asked(engine: FakeEngine, calls: int = 1) -> None:
    """Rendering happens in a thread, so the event loop alone does not say when it is done."""
    while engine.calls < calls:
        await asyncio.sleep(0.001)


async def test_each_criterion_gets_the_judges_own_word_for_it() -> None:
    engine = FakeEngine()
    async with scoring(engine) as scorer:
        asked = [candidate(f"Response {n}.") for n in range(5)]
        scored, usage = await scorer.score(asked, Options())
    assert [[j.p for j in one.judgements] for one in scored] == [truth(one) for one in asked]
    assert (usage.judgements, usage.cache_hits, usage.deduplicated) == (60, 0, 0)
    assert usage.prompt_tokens == engine.tokens


async def test_what_is_known_is_not_asked_again() -> None:
    engine = FakeEngine()
    async with scoring(engine) as scorer:
        first, _ = await scorer.score([candidate()], Options())
        second, usage = await scorer.score([candidate()], Options(threshold=0.9))
    assert engine.prompts == 12
    assert (usage.judgements, usage.cache_hits) == (0, 12)
    assert {j.source for j in second[0].judgements} == {"cache"}
    assert [j.p for j in second[0].judgements] == [j.p for j in first[0].judgements]
    assert [j.met for j in second[0].judgements] == [(j.p or 0) >= 0.9 for j in first[0].judgements]


async def test_another_scope_does_not_see_what_is_known() -> None:
    engine = FakeEngine()
    async with scoring(engine) as scorer:
        await scorer.score([candidate()], Options(scope="one"))
        _, usage = await scorer.score([candidate()], Options(scope="other"))
    assert usage.cache_hits == 0
    assert engine.prompts == 24


async def test_1000_identical_requests_of_12_criteria_are_12_judgements() -> None:
    engine = FakeEngine()
    async with scoring(engine) as scorer:
        answers = await asyncio.gather(*(scorer.score([candidate()], Options()) for _ in range(1000)))
    assert engine.prompts == 12
    assert {tuple(j.p for j in scored[0].judgements) for scored, _ in answers} == {tuple(truth(candidate()))}
    assert sum(usage.judgements for _, usage in answers) == 12
    assert sum(usage.deduplicated + usage.cache_hits for _, usage in answers) == 12 * 999


async def test_duplicates_within_a_request_are_judged_once() -> None:
    engine = FakeEngine()
    async with scoring(engine) as scorer:
        same = [replace(candidate(), id=str(n)) for n in range(8)]
        scored, usage = await scorer.score(same, Options())
    assert engine.prompts == 12
    assert (usage.judgements, usage.deduplicated) == (12, 84)
    assert len({tuple(j.p for j in one.judgements) for one in scored}) == 1


async def test_who_began_it_may_leave_and_the_others_are_answered_200_of_200() -> None:
    answered = 0
    for trial in range(200):
        clock = ManualClock()
        engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
        async with scoring(engine, clock) as scorer:
            leader = asyncio.create_task(scorer.score([candidate(criteria=2)], Options()))
            await asyncio.sleep(0)
            follower = asyncio.create_task(scorer.score([candidate(criteria=2)], Options()))
            if trial % 2:
                await until_asked(engine)
            else:
                await asyncio.sleep(0)
            leader.cancel()
            await until_asked(engine)
            await clock.advance(2.0)
            [scored], _ = await follower
            answered += [j.p for j in scored.judgements] == truth(candidate(criteria=2))
            assert engine.prompts == 2
    assert answered == 200


async def test_when_all_have_left_the_work_is_not_done() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with scoring(engine, clock, SchedulingSettings(max_batch_tokens=1, max_in_flight=1)) as scorer:
        request = asyncio.create_task(scorer.score([candidate()], Options()))
        await until_asked(engine)
        request.cancel()
        await clock.advance(30.0)
        assert engine.calls == 1
        assert scorer._scheduler.queued_tokens == 0


async def test_past_the_deadline_the_answer_is_timeout_with_bounds_and_no_score() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with scoring(engine, clock, SchedulingSettings(max_batch_tokens=1, max_in_flight=1)) as scorer:
        request = asyncio.create_task(scorer.score([candidate()], Options(deadline_s=3.5)))
        await until_asked(engine)
        await clock.advance(10.0)
        [scored], _ = await request
        await clock.advance(30.0)
    assert [j.status for j in scored.judgements] == ["ok"] * 3 + ["timeout"] * 9
    assert all(j.met is None and j.p is None for j in scored.judgements[3:])
    assert (scored.score.value, scored.score.status, scored.score.coverage) == (None, "partial", 0.25)
    assert engine.calls == 4


async def test_a_follower_with_more_time_gets_it() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with scoring(engine, clock, SchedulingSettings(max_batch_tokens=1, max_in_flight=1)) as scorer:
        hasty = asyncio.create_task(scorer.score([candidate(criteria=3)], Options(deadline_s=1.5)))
        patient = asyncio.create_task(scorer.score([candidate(criteria=3)], Options(deadline_s=60.0)))
        await until_asked(engine)
        await clock.advance(10.0)
        [late], [whole] = (await hasty)[0], (await patient)[0]
    assert [j.status for j in late.judgements] == ["ok", "timeout", "timeout"]
    assert [j.p for j in whole.judgements] == truth(candidate(criteria=3))


async def test_a_request_that_the_queue_cannot_take_is_refused_whole_and_leaves_nothing() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    limits = SchedulingSettings(max_batch_tokens=1, max_queued_tokens=1000, max_in_flight=1)
    async with scoring(engine, clock, limits) as scorer:
        first = asyncio.create_task(scorer.score([candidate()], Options()))
        await until_asked(engine)
        before = repr(scorer._scheduler)
        with pytest.raises(Overloaded) as refused:
            await scorer.score([candidate(f"Response {n}." * 40) for n in range(8)], Options())
        assert refused.value.retry_after_s >= 1
        assert repr(scorer._scheduler) == before
        assert scorer.evaluator.flights == 12
        await clock.advance(60.0)
        assert (await first)[0][0].score.status == "ok"


async def test_rules_decide_without_the_judge_and_mix_with_it() -> None:
    engine = FakeEngine()
    rule = Criterion(
        id="r", text="Mentions rest.", points=2.0, rule=Rule("contains", {"text": "rest", "ignore_case": True})
    )
    broken = Criterion(
        id="b", text="A bad pattern.", points=-1.0, rule=Rule("regex", {"pattern": "(", "ignore_case": False})
    )
    async with scoring(engine) as scorer:
        asked = candidate(criteria=1)
        [scored], usage = await scorer.score([replace(asked, criteria=(*asked.criteria, rule, broken))], Options())
    assert [(j.source, j.status, j.met) for j in scored.judgements[1:]] == [
        ("rule", "ok", True),
        ("rule", "verifier_error", None),
    ]
    assert usage.judgements == 1
    assert scored.score.value is None


async def test_an_abstention_has_no_verdict_and_is_asked_again() -> None:
    engine = FakeEngine(plan=FaultPlan(script=("low_mass", "ok")))
    async with scoring(engine) as scorer:
        [first], _ = await scorer.score([candidate(criteria=1)], Options())
        [second], usage = await scorer.score([candidate(criteria=1)], Options())
    assert (first.judgements[0].status, first.judgements[0].met, first.judgements[0].p) == ("abstained", None, None)
    assert first.judgements[0].label_mass is not None
    assert usage.judgements == 1
    assert second.judgements[0].ok


@pytest.mark.parametrize("fault", ["batch", "crash", "few", "many", "die"])
async def test_a_failed_judge_is_no_verdict_and_is_not_remembered(fault: str) -> None:
    engine = FakeEngine(plan=FaultPlan(script=(fault,)))  # type: ignore[arg-type]
    async with scoring(engine) as scorer:
        [scored], _ = await scorer.score([candidate()], Options(min_coverage=0.0))
        assert {j.status for j in scored.judgements} == {"engine_error"}
        assert (scored.score.value, scored.score.status, scored.score.bounds) == (None, "failed", (0.0, 1.0))
        if fault != "die":
            [again], usage = await scorer.score([candidate()], Options())
            assert usage.judgements == 12
            assert again.score.status == "ok"


async def test_a_prompt_that_is_too_long_fails_alone() -> None:
    async with scoring(FakeEngine(max_model_len=400)) as scorer:
        scored, _ = await scorer.score([candidate("short", 1), candidate("long " * 400, 1)], Options())
    assert [one.judgements[0].status for one in scored] == ["ok", "too_long"]


RATES = {"batch": 0.05, "crash": 0.05, "some": 0.1, "few": 0.05, "many": 0.05, "nan": 0.1, "low_mass": 0.1}


async def test_10_000_requests_under_faults_hold_no_invented_verdict() -> None:
    """Law 1 with figures: every judgement is the oracle's, or has a status and no verdict."""
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(rates=RATES, batch_s=0.01), sleep=clock.sleep)  # type: ignore[arg-type]
    asked = [candidate(f"Response {n}.", criteria=10) for n in range(500)]
    truths = [truth(one) for one in asked]
    ok = failed = wrong = refused = 0
    async with scoring(engine, clock, SchedulingSettings(max_batch_tokens=4096)) as scorer:
        for round in range(20):
            deadline_s = clock.now() + (0.05 if round % 5 == 4 else 60.0)
            options = Options(deadline_s=deadline_s, scope=str(round))
            requests = [asyncio.create_task(scorer.score([one], options)) for one in asked]
            while not all(request.done() for request in requests):
                await asyncio.sleep(0.001)
                await clock.advance(0.05)
            for request, expected in zip(requests, truths, strict=True):
                if isinstance(request.exception(), Overloaded):
                    refused += 10
                    continue
                [scored], _ = request.result()
                for judgement, p in zip(scored.judgements, expected, strict=True):
                    ok += judgement.ok
                    failed += not judgement.ok
                    wrong += judgement.p != p if judgement.ok else judgement.p is not None or judgement.met is not None
                whole = all(judgement.ok for judgement in scored.judgements)
                wrong += (scored.score.value is not None) != whole
        await settle()
        assert scorer.evaluator.flights == 0
    assert ok + failed + refused == 100_000
    assert wrong == 0
    assert failed > 10_000
    assert ok > 10_000
