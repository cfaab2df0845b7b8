"""Who may judge: what the exam proves, what it refuses, and that nothing is judged before it where it may fail."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from service.clock import ManualClock, settle
from service.engine.base import Generation, GenerationOutcome, Prompt, Sampling
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import ConfigurationError, InvalidRequest, Unavailable
from service.modes.modes import JudgingMode
from service.modes.registry import judging_modes
from service.modes.served_modes import BATCHED
from service.observability import Telemetry
from service.scheduling import Scheduler
from service.scoring.exam.proctor import NO_EXAM, Proctor
from service.scoring.exam.questions import Question
from service.settings import ModeSettings, SchedulingSettings
from testkit.exam_judge import EXAM, ExamJudge
from testkit.tokenizer_families import family

VERDICT, REASONED, IMPLICIT, LIKERT = ((mode, "rubricd") for mode in ("verdict", "reasoned", "implicit", "likert"))


def likes_it_long(one: Question) -> float:
    return min(0.99, len(one.candidate.response) / 300)


def says_met(one: Question) -> float:
    return 0.9


@asynccontextmanager
async def examining(
    engine: FakeEngine, clock: ManualClock | None = None
) -> AsyncIterator[tuple[Proctor, dict[tuple[str, str], JudgingMode]]]:
    clock = clock or ManualClock()
    scheduler = Scheduler(engine, clock, SchedulingSettings())
    scheduler.start()
    modes = dict(judging_modes(engine.identity, family("qwen"), ModeSettings()).items())
    yield Proctor(EXAM, scheduler, clock, Telemetry()), modes
    await scheduler.drain(0)


@pytest.mark.parametrize("way", [VERDICT, REASONED, IMPLICIT, LIKERT])
async def test_a_judge_that_knows_the_answers_is_proven_in_every_mode(way: tuple[str, str]) -> None:
    async with examining(ExamJudge()) as (proctor, modes):
        judge = modes[way].judge
        assert proctor.trust_of(judge) == "unproven", "it has sat no exam"
        await proctor.admit(modes[way], None)
        assert proctor.trust_of(judge) == "proven"
        found = proctor.grades[judge.fingerprint]
    assert (found.right, found.answered) == (found.pairs, found.questions)
    assert found.interval[0] > 2 / 3


@pytest.mark.parametrize("way", [VERDICT, REASONED, IMPLICIT, LIKERT])
async def test_a_judge_that_likes_long_responses_is_unproven_and_serves(way: tuple[str, str]) -> None:
    async with examining(ExamJudge(likes_it_long)) as (proctor, modes):
        await proctor.admit(modes[way], None)
        assert proctor.trust_of(modes[way].judge) == "unproven"


async def test_the_first_exam_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    for judge, lines in ((ExamJudge(), 0), (ExamJudge(likes_it_long), 1), (FakeEngine(), 1)):
        caplog.clear()
        async with examining(judge) as (proctor, modes):
            with caplog.at_level(logging.INFO, "service.scoring"):
                await proctor.examine_first(modes.values())
        told = [one for one in caplog.records if one.name.startswith("service.scoring")]  # others log as well
        assert len(told) == lines
        if lines:
            assert "is unproven" in caplog.text and "where chance is 0.5" in caplog.text


ECHOES: list[Callable[[Question | None], str]] = [
    lambda one: "",
    lambda one: one.criterion.text if one else "",
    lambda one: (one.candidate.response if one else "") or "true",
    lambda one: "Answer with the JSON object.",
]


@pytest.mark.parametrize("explain", ECHOES)
async def test_a_mode_that_writes_no_explanations_is_refused_with_the_reason(
    explain: Callable[[Question | None], str],
) -> None:
    async with examining(ExamJudge(explain=explain)) as (proctor, modes):
        with pytest.raises(InvalidRequest, match=r"mode `reasoned`, layout `rubricd`: it answered \d+ of 48"):
            await proctor.admit(modes[REASONED], None)
        assert proctor.trust_of(modes[REASONED].judge) == "failed"
        await proctor.admit(modes[VERDICT], None)
        assert proctor.trust_of(modes[VERDICT].judge) == "proven", "the other modes serve"


async def test_a_mode_that_says_met_of_an_empty_response_is_refused() -> None:
    async with examining(ExamJudge(says_met)) as (proctor, modes):
        with pytest.raises(InvalidRequest, match="says met of 100% of what an empty response does not have"):
            await proctor.admit(modes[REASONED], None)
        await proctor.admit(modes[VERDICT], None)


async def test_a_judge_that_answers_in_no_way_does_not_serve() -> None:
    async with examining(ExamJudge(label_mass=lambda labels: 0.1)) as (proctor, modes):
        with pytest.raises(ConfigurationError, match="can be asked in no way: mode `verdict`"):
            await proctor.examine_first(modes.values())
        assert len(proctor.grades) == len(modes)


async def test_where_the_default_fails_another_way_serves() -> None:
    judge = ExamJudge(label_mass=lambda labels: 0.1 if labels == 2 else 0.9)
    async with examining(judge) as (proctor, modes):
        await proctor.examine_first(modes.values())
        with pytest.raises(InvalidRequest):
            await proctor.admit(modes[VERDICT], None)
        await proctor.admit(modes[IMPLICIT], None)


async def test_a_toy_fails_nothing_and_is_asked_once() -> None:
    engine = FakeEngine(plan=FaultPlan(rates={"low_mass": 1.0}))
    async with examining(engine) as (proctor, modes):
        await proctor.examine_first(modes.values())
        asked = engine.prompts
        for judging_mode in modes.values():
            await proctor.admit(judging_mode, None)
            assert proctor.trust_of(judging_mode.judge) == "unproven"
    assert engine.prompts == asked == len(EXAM.questions)


async def test_many_requests_wait_for_one_exam() -> None:
    clock = ManualClock()
    engine = ExamJudge(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    async with examining(engine, clock) as (proctor, modes):
        waiting = [asyncio.create_task(proctor.admit(modes[VERDICT], None)) for _ in range(50)]
        waiting[0].cancel()
        late = asyncio.create_task(proctor.admit(modes[VERDICT], clock.now() + 0.5))
        while engine.calls < 1:
            await asyncio.sleep(0.001)
        await clock.advance(0.6)
        with pytest.raises(Unavailable, match="has not sat its exam yet"):
            await late
        assert not any(task.done() for task in waiting[1:])
        for _ in range(30):
            await clock.advance(1.0)
        await asyncio.gather(*waiting[1:])
    assert len(engine.asked) == len(EXAM.questions), "who left, or came too late, stopped it for nobody"


async def test_an_engine_that_fails_is_asked_again_by_the_next_request() -> None:
    engine = ExamJudge(plan=FaultPlan(script=("batch",)))
    async with examining(engine) as (proctor, modes):
        with pytest.raises(Unavailable):
            await proctor.admit(modes[VERDICT], None)
        await settle()
        await proctor.admit(modes[VERDICT], None)
        assert proctor.trust_of(modes[VERDICT].judge) == "proven"


async def test_without_an_exam_everything_is_unproven_and_serves() -> None:
    modes = judging_modes(ExamJudge().identity, family("qwen"), ModeSettings())
    for judging_mode in modes.values():
        await NO_EXAM.admit(judging_mode, None)
        assert NO_EXAM.trust_of(judging_mode.judge) == "unproven"


class Rambling(FakeEngine):
    """Writes no document."""

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        return [Generation("I would rather not say.", finished=True, tokens=9) for _ in prompts]


async def test_documents_for_all_criteria_sit_an_exam_of_their_own_and_fail_it_alone() -> None:
    engine = Rambling()
    engine.identity = replace(engine.identity, toy=False)
    clock = ManualClock()
    scheduler = Scheduler(engine, clock, SchedulingSettings())
    scheduler.start()
    batched = judging_modes(engine.identity, family("qwen"), ModeSettings()).ways[BATCHED]
    proctor = Proctor(EXAM, scheduler, clock, Telemetry())
    with pytest.raises(InvalidRequest, match="mode `reasoned`, layout `rubricd`, `batch: all`") as refused:
        await proctor.admit(batched, None)
    await scheduler.drain(0)
    assert refused.value.errors[0][0] == ("batch",)
    assert list(proctor.grades) == [batched.judge.fingerprint]
