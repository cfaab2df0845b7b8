"""Every mode over the real queue, cache and flights, with the fake engine as oracle."""

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from service.clock import ManualClock
from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, Outcome, Prompt, Sampling
from service.engine.fake import FakeEngine, FaultPlan, oracle
from service.errors import InvalidRequest
from service.modes.escalation import Escalation
from service.modes.label_verdict import read_verdict
from service.modes.modes import ReasonedMode
from service.modes.registry import judging_modes
from service.modes.written_verdict import BOOLEANS, VERDICT_KEY, document_up_to_verdict
from service.prompting.tokenization import Segmenter
from service.rubrics.judgement import Judgement
from service.scheduling import Scheduler
from service.scoring.canary import CANARY_CANDIDATES, Canary
from service.scoring.request import Options
from service.settings import ModeSettings, SchedulingSettings
from testkit.tokenizer_families import family
from tests.service.scoring.test_scorer import candidate, scoring
from trainer_client.formulas import Aggregation

REASONED = Options(mode="reasoned")


async def test_a_written_verdict_has_an_explanation_and_is_kept() -> None:
    engine = FakeEngine()
    async with scoring(engine) as scorer:
        [first], usage = await scorer.score([candidate()], REASONED)
        [second], known = await scorer.score([candidate()], REASONED)
    assert all(j.ok and j.explanation and 0.9 <= (j.label_mass or 0.0) <= 1.0 for j in first.judgements)
    assert {j.met for j in first.judgements} == {True, False}
    assert [j.explanation for j in second.judgements] == [j.explanation for j in first.judgements]
    assert (usage.judgements, known.judgements, known.cache_hits) == (12, 0, 12)
    assert usage.completion_tokens > 12


async def test_a_written_verdict_is_the_labels_probability_behind_its_own_explanation() -> None:
    async with scoring(FakeEngine()) as scorer:
        asked = candidate(criteria=3)
        [scored], _ = await scorer.score([asked], REASONED)
        mode = scorer.judging_modes["reasoned", "rubricd"]
        assert isinstance(mode, ReasonedMode)
        [prompts] = mode.renderer.render([(asked, asked.criteria)])
    closing, ids = mode.renderer.place_words(VERDICT_KEY, BOOLEANS)
    assert ids == mode.judge.label_ids
    for prompt, judgement in zip(prompts, scored.judgements, strict=True):
        document = document_up_to_verdict(judgement.explanation or "")
        read = read_verdict(oracle(mode.renderer.continue_prompt(prompt, document, closing).ids))
        assert (judgement.p, judgement.label_mass) == (read.p_met, read.label_mass)


async def test_a_judge_that_would_say_something_else_at_its_verdicts_place_abstains() -> None:
    engine = FakeEngine(plan=FaultPlan(rates={"low_mass": 1.0}))
    async with scoring(engine) as scorer:
        [scored], _ = await scorer.score([candidate(criteria=1)], REASONED)
    assert [(j.status, j.met, j.p) for j in scored.judgements] == [("abstained", None, None)]


class Echo(FakeEngine):
    """A judge that writes what it was shown where its explanation belongs, or nothing. It says met of everything."""

    def __init__(self, explanation: str) -> None:
        super().__init__()
        self.explanation = explanation

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        return [LabelLogprobs((-0.01, -5.0)) for _ in prompts]

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        document = json.dumps({"explanation": self.explanation, "criteria_met": True})
        return [Generation(document, finished=True, tokens=9) for _ in prompts]


@pytest.mark.parametrize(
    "explanation", ["", "Rest it.", "Criterion number 1.", "Answer with the JSON object.", "true true"]
)
async def test_an_echo_is_no_verdict(explanation: str) -> None:
    async with scoring(Echo(explanation)) as scorer:
        [scored], _ = await scorer.score([candidate(criteria=3)], REASONED)
        [voted], _ = await scorer.score([candidate(criteria=3)], replace(REASONED, votes=3))
    for judged in (scored, voted):
        assert {(j.status, j.met, j.p) for j in judged.judgements} == {("unparseable", None, None)}
        assert judged.score.value is None


async def test_votes_are_independent_answers_and_more_votes_reuse_the_fewer() -> None:
    engine = FakeEngine()
    async with scoring(engine) as scorer:
        [four], usage = await scorer.score([candidate()], replace(REASONED, votes=4))
        [eight], more = await scorer.score([candidate()], replace(REASONED, votes=8))
    assert (usage.judgements, more.judgements, more.cache_hits) == (48, 48, 48)
    assert len({j.p for j in (*four.judgements, *eight.judgements)}) == 24
    assert all(0.0 < (j.p or 0) < 1.0 for j in eight.judgements)
    assert all(j.met == ((j.p or 0) >= 0.5) for j in eight.judgements)


@pytest.mark.parametrize(
    ("fault", "status"), [("truncated", "unparseable"), ("garbage", "unparseable"), ("batch", "engine_error")]
)
async def test_a_written_answer_that_is_no_verdict_is_none(fault: str, status: str) -> None:
    engine = FakeEngine(plan=FaultPlan(rates={fault: 1.0}))  # type: ignore[dict-item]
    async with scoring(engine) as scorer:
        [scored], _ = await scorer.score([candidate()], REASONED)
        kept = len(scorer.evaluator._memory)
    missing = [j for j in scored.judgements if not j.ok]
    assert (kept, len(missing) > 0) == (12 - len(missing), True)
    assert {(j.status, j.met, j.p, j.explanation) for j in missing} == {(status, None, None, None)}
    assert scored.score.value is None


@pytest.mark.parametrize("mode", ["implicit", "likert"])
async def test_a_rating_is_the_expected_value_of_the_judges_own_distribution(mode: str) -> None:
    engine = FakeEngine()
    async with scoring(engine) as scorer:
        asked = [candidate(f"Response {n}.") for n in range(4)]
        scored, usage = await scorer.score(asked, Options(mode=mode))
        judging_mode = scorer.judging_modes[mode, "rubricd"]
        shown = asked if mode == "implicit" else [replace(one, criteria=()) for one in asked]
        prompts = judging_mode.renderer.render_whole(shown)
    digits = scorer.judging_modes[mode, "rubricd"].judge.label_ids
    for one, prompt in zip(scored, prompts, strict=True):
        first = [math.exp(lp) for lp in oracle(prompt.ids, labels=9).logprobs]
        after = [math.exp(lp) for lp in oracle((*prompt.ids, digits[1]), labels=10).logprobs]
        masses = [first[0] * (1 - sum(after)), *first[1:], first[0] * after[0]]
        expected = sum((n + 1) * m for n, m in enumerate(masses)) / sum(masses)
        assert one.rating is not None
        assert one.rating.expected == pytest.approx(expected)
        assert one.score.value == pytest.approx((expected - 1) / 9)
        assert (len(one.judgements), one.judgements[0].status, one.judgements[0].met) == (1, "ok", None)
    assert (usage.judgements, engine.prompts) == (4, 8)


async def test_likert_does_not_look_at_the_rubric_and_implicit_does() -> None:
    async with scoring(FakeEngine()) as scorer:
        bare = replace(candidate(), criteria=())
        [a], _ = await scorer.score([bare], Options(mode="likert"))
        [b], usage = await scorer.score([candidate()], Options(mode="likert"))
        [c], _ = await scorer.score([candidate(criteria=2)], Options(mode="implicit"))
        [d], _ = await scorer.score([candidate(criteria=3)], Options(mode="implicit"))
    assert a.score.value == b.score.value
    assert usage.cache_hits == 1
    assert c.score.value != d.score.value


async def test_a_rating_that_fails_or_abstains_has_no_score_and_a_reason() -> None:
    for fault, status in (("batch", "engine_error"), ("low_mass", "abstained")):
        engine = FakeEngine(plan=FaultPlan(rates={fault: 1.0}))  # type: ignore[dict-item]
        async with scoring(engine) as scorer:
            [scored], _ = await scorer.score([candidate()], Options(mode="implicit", norm="r/10"))
        assert (scored.score.value, scored.score.status, scored.score.bounds) == (None, "failed", (0.1, 1.0))
        assert (scored.rating, scored.judgements[0].status, scored.judgements[0].p_raw) == (None, status, None)


async def test_uncertain_verdicts_are_asked_again_within_the_budget() -> None:
    engine = FakeEngine()
    mode_settings = ModeSettings(escalate_band=0.5, escalate_share=0.25)
    async with scoring(engine, mode_settings=mode_settings) as scorer:
        [scored], usage = await scorer.score([candidate()], Options())
    again = [j for j in scored.judgements if j.explanation is not None]
    assert (len(again), usage.judgements, engine.prompts) == (3, 15, 12 + 2 * 3)
    kept = [abs((j.p or 0) - 0.5) for j in scored.judgements if j.explanation is None]
    assert len(kept) == 9


async def test_a_second_question_that_fails_leaves_the_first_answer() -> None:
    engine = FakeEngine(plan=FaultPlan(script=("ok", "batch")))
    async with scoring(engine, mode_settings=ModeSettings(escalate_band=0.5, escalate_share=1.0)) as scorer:
        [scored], _ = await scorer.score([candidate()], Options())
    assert all(j.ok and j.explanation is None for j in scored.judgements)


def test_the_most_uncertain_are_chosen_and_never_a_rule() -> None:
    def said(p: float, status: str = "ok", source: str = "judge") -> Judgement:
        return Judgement(status=status, source=source, met=p >= 0.5, p=p, p_raw=p)  # type: ignore[arg-type]

    judged = [said(0.9), said(0.45), said(0.52), said(0.5, source="rule"), said(0.99, "abstained"), said(0.6)]
    assert Escalation(band=0.1, share=1.0).choose(judged) == [4, 2, 1, 5]
    assert Escalation(band=0.1, share=0.3).choose(judged) == [4, 2]
    assert Escalation().choose(judged) == []
    assert Escalation(band=0.1).choose([Judgement(status="timeout", source="judge")]) == []


def test_each_way_of_asking_is_a_judge_of_its_own() -> None:
    plain = judging_modes(FakeEngine().identity, family("qwen"), ModeSettings())
    again = judging_modes(FakeEngine().identity, family("qwen"), ModeSettings(escalate_band=0.1))
    names = [judging_mode.judge.fingerprint for judging_mode in plain.values()]
    assert len(set(names)) == len(names) >= 5
    assert again["verdict", "rubricd"].judge.fingerprint != plain["verdict", "rubricd"].judge.fingerprint
    assert again["reasoned", "rubricd"].judge.fingerprint == plain["reasoned", "rubricd"].judge.fingerprint
    changes = ({"vote_temperature": 0.6}, {"reasoned_tokens": 99}, {"explanation_chars": 99})
    for changed in map(ModeSettings.model_validate, changes):
        other = judging_modes(FakeEngine().identity, family("qwen"), changed)
        assert other["reasoned", "rubricd"].judge.fingerprint != plain["reasoned", "rubricd"].judge.fingerprint


async def test_the_graders_layout_has_no_place_for_a_reference() -> None:
    async with scoring(FakeEngine()) as scorer:
        with pytest.raises(InvalidRequest, match="reference"):
            await scorer.score([replace(candidate(), reference="Ice it.")], replace(REASONED, layout="healthbench"))


async def test_what_cannot_be_aggregated_is_refused_before_anything_is_judged() -> None:
    engine = FakeEngine()
    async with scoring(engine) as scorer:
        asked = candidate(criteria=2)
        mixed = replace(asked, criteria=(replace(asked.criteria[0], category="essential"), asked.criteria[1]))
        with pytest.raises(InvalidRequest, match="category"):
            await scorer.score([mixed], Options(aggregation=Aggregation("rar_explicit")))
    assert engine.calls == 0


async def test_the_canaries_tell_drift_and_pass_the_cache_by() -> None:
    clock = ManualClock()
    engine = FakeEngine()
    scheduler = Scheduler(engine, clock, SchedulingSettings())
    scheduler.start()
    canary = Canary(judging_modes(engine.identity, family("qwen"), ModeSettings())["verdict", "rubricd"], scheduler)
    assert await canary.check() == 0.0
    assert await canary.check() == 0.0
    assert engine.prompts == 2 * sum(len(one.criteria) for one in CANARY_CANDIDATES)
    engine._seed = 1
    assert await canary.check() > 0.1
    await scheduler.drain(0)


async def test_who_leaves_between_two_steps_leaves_nothing_behind() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with scoring(engine, clock) as scorer:
        request = asyncio.create_task(scorer.score([candidate()], Options(mode="implicit")))
        while engine.calls < 1:
            await asyncio.sleep(0.001)
        await clock.advance(1.5)
        request.cancel()
        await clock.advance(5.0)
        assert scorer.evaluator.flights == 0
        assert scorer._scheduler.queued_tokens == 0


class Thoughtful(FakeEngine):
    """Writes a thought where it is given a token to stop at, and then the document that it is asked for."""

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        written = await super().generate(prompts, samplings)
        thoughts = [Generation("It may well be.", finished=not self.restless, tokens=4) for _ in prompts]
        return [
            thought if sampling.stop_ids else one
            for thought, sampling, one in zip(thoughts, samplings, written, strict=True)
        ]

    restless = False


class Thinking:
    def __init__(self) -> None:
        self.backend_tokenizer = family("qwen").backend_tokenizer

    def apply_chat_template(self, conversation: list[dict[str, str]], **kwargs: object) -> str:
        return "".join(f"[{m['role']}] {m['content']}\n" for m in conversation) + "[assistant] <think>\n"


@pytest.mark.parametrize("restless", [False, True])
async def test_a_judge_that_thinks_is_let_think_and_then_asked_for_its_verdict(restless: bool) -> None:
    engine = Thoughtful()
    engine.restless = restless
    async with scoring(engine, tokenizer=Thinking()) as scorer:
        [scored], _ = await scorer.score([candidate(criteria=3)], REASONED)
    if restless:
        assert {(j.status, j.met) for j in scored.judgements} == {("unparseable", None)}
        return
    assert all(j.ok and j.explanation for j in scored.judgements)
    segmenter = Segmenter(family("qwen"))
    end = (*segmenter.encode_untrusted("It may well be."), *segmenter.encode_trusted("</think>\n\n"))
    assert sum(ids[-len(end) :] == end for ids in engine.seen_ids) == 3


async def test_a_drain_lets_what_has_begun_take_its_next_step() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with scoring(engine, clock) as scorer:
        request = asyncio.create_task(scorer.score([candidate()], Options(mode="implicit")))
        while engine.calls < 1:
            await asyncio.sleep(0.001)
        draining = asyncio.create_task(scorer.drain(5.0))
        await clock.advance(4.0)
        [scored], _ = await request
        await draining
    assert (scored.score.status, engine.calls) == ("ok", 2)
