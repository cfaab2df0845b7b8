"""Questions go through the queue past every cache, step by step, in every mode."""

import asyncio

import pytest

from service.api.operator_files.labelled_rows import built_in_exam
from service.clock import ManualClock
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import EngineFailed, Unavailable
from service.modes.registry import judging_modes
from service.scheduling import Scheduler
from service.scoring.exam.asking import answers_of
from service.settings import ModeSettings, SchedulingSettings
from testkit.tokenizer_families import family

EXAM = built_in_exam()


async def asked(engine: FakeEngine, mode: str, *, times: int = 1, prompt: str = "question") -> list[list[float | None]]:
    scheduler = Scheduler(engine, ManualClock(), SchedulingSettings())
    scheduler.start()
    judging_mode = judging_modes(engine.identity, family("qwen"), ModeSettings(prompt=prompt))[mode, "rubricd"]
    try:
        return [await answers_of(judging_mode, EXAM.for_mode(mode), scheduler) for _ in range(times)]
    finally:
        await scheduler.drain(0)


@pytest.mark.parametrize(("mode", "steps"), [("verdict", 1), ("reasoned", 2), ("implicit", 2), ("likert", 2)])
async def test_every_mode_answers_every_question_each_time(mode: str, steps: int) -> None:
    engine = FakeEngine()
    first, second = await asked(engine, mode, times=2)
    assert first == second and None not in first
    assert engine.prompts == 2 * steps * len(EXAM.for_mode(mode)), "nothing was taken from a cache"


async def test_questions_about_one_response_are_answered_in_one_document() -> None:
    engine = FakeEngine()
    scheduler = Scheduler(engine, ManualClock(), SchedulingSettings())
    scheduler.start()
    way = judging_modes(engine.identity, family("qwen"), ModeSettings()).choose("reasoned", "rubricd", None, "all")
    questions = EXAM.for_mode("reasoned")
    found = await answers_of(way, questions, scheduler)
    await scheduler.drain(0)
    documents = len({id(question.candidate) for question in questions})
    assert None not in found and len(set(found)) == len(questions) == 2 * documents
    assert engine.prompts == documents + len(questions), "each verdict is read at its own place"


async def test_a_prompt_of_two_questions_answers_with_both() -> None:
    engine = FakeEngine()
    [both] = await asked(engine, "verdict", prompt="opposite")
    questions = len(EXAM.for_mode("verdict"))
    assert engine.prompts == 2 * questions and None not in both
    [half] = await asked(FakeEngine(plan=FaultPlan(rates={"nan": 0.5})), "verdict", prompt="opposite")
    assert half.count(None) > 0, "one of the two answers is not enough"


@pytest.mark.parametrize("fault", ["low_mass", "nan"])
async def test_what_is_no_verdict_has_no_answer(fault: str) -> None:
    [found] = await asked(FakeEngine(plan=FaultPlan(rates={fault: 1.0})), "verdict")  # type: ignore[dict-item]
    assert 0 < found.count(None) <= len(found)


async def test_an_engine_that_fails_says_nothing_about_the_judge() -> None:
    with pytest.raises(EngineFailed):
        await asked(FakeEngine(plan=FaultPlan(rates={"some": 1.0})), "verdict")
    down = FakeEngine()
    down.down = "it restarts"
    with pytest.raises(Unavailable):
        await asked(down, "verdict")


async def test_one_that_is_cancelled_leaves_nothing_behind() -> None:
    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=clock.sleep)
    scheduler = Scheduler(engine, clock, SchedulingSettings())
    scheduler.start()
    mode = judging_modes(engine.identity, family("qwen"), ModeSettings())["verdict", "rubricd"]
    asking = asyncio.create_task(answers_of(mode, EXAM.questions, scheduler))
    while engine.calls < 1:
        await asyncio.sleep(0.001)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert scheduler.queued_tokens == 0
    await scheduler.drain(0)
