"""Asks a judge known questions through the scheduler, past every cache, and follows each step of the mode.

Guarantees: one answer a question, in order. A question that the judge gives no verdict on, or abstains from, has None.
"""

import asyncio
from collections.abc import Sequence

from service.engine.base import EngineResult
from service.errors import EngineFailed, JudgementError
from service.modes.label_verdict import read_both
from service.modes.modes import JudgingMode, ModeResult, Query, Step, VerdictMode, render_prompts
from service.modes.rating import Rating
from service.rubrics.judgement import Verdict, abstains
from service.rubrics.levels import LevelVerdict, expected_value
from service.rubrics.rubric import Criterion
from service.scheduling import Scheduler
from service.scoring.exam.questions import Question

Answers = list[float | None]


async def answers_of(judging_mode: JudgingMode, questions: Sequence[Question], scheduler: Scheduler) -> Answers:
    """P(met) of each question, or its expected rating or value. Raises Unavailable or Overloaded where the scheduler
    refuses the questions, EngineFailed where the engine failed on one: then nothing is known about the judge."""
    queries = [question.query(judging_mode.judge.mode) for question in questions]
    results = await ask(judging_mode, queries, scheduler)
    plain = all(query.criterion is None or query.criterion.plain for query in queries)
    if isinstance(judging_mode, VerdictMode) and judging_mode.reads_both and judging_mode.opposite and plain:
        others = await ask(judging_mode.opposite, queries, scheduler)
        results = [_both(one, other) for one, other in zip(results, others, strict=True)]
    floor = judging_mode.judge.mass_floor
    return [
        None if isinstance(one, JudgementError) else _number(one, question.criterion, floor)
        for question, one in zip(questions, results, strict=True)
    ]


async def ask(
    judging_mode: JudgingMode, queries: Sequence[Query], scheduler: Scheduler
) -> list[ModeResult | JudgementError]:
    """What the judge answers, or why it does not. Raises as `answers_of`."""
    prompts = await asyncio.to_thread(render_prompts, judging_mode.renderer, queries, "", 0)
    steps = {
        place: judging_mode.first_step(prompt, query)
        for place, (prompt, query) in enumerate(zip(prompts, queries, strict=True))
    }
    results: dict[int, ModeResult | JudgementError] = {}
    first = True
    while steps:
        tickets = scheduler.submit(
            [step.query for step in steps.values()],
            [None] * len(steps),
            groups=[id(queries[place].candidate) for place in steps],  # what shares its prefix
            next_step=not first,
        )
        await asyncio.wait([ticket.future for ticket in tickets])
        following: dict[int, Step] = {}
        for (place, step), ticket in zip(steps.items(), tickets, strict=True):
            taken = _take(judging_mode, step, ticket.future)
            if isinstance(taken, Step):
                following[place] = taken
            else:
                results[place] = taken
        steps, first = following, False
    return [results[place] for place in range(len(queries))]


def _take(
    judging_mode: JudgingMode, step: Step, answered: asyncio.Future[EngineResult]
) -> Step | ModeResult | JudgementError:
    try:
        return judging_mode.next_step(step, answered.result())
    except JudgementError as error:
        if error.retryable or isinstance(error, EngineFailed):
            raise
        return error.with_traceback(None)


def _both(plain: ModeResult | JudgementError, opposite: ModeResult | JudgementError) -> ModeResult | JudgementError:
    """The verdict of two askings; where one of them has none, its reason."""
    if isinstance(plain, Verdict) and isinstance(opposite, Verdict):
        return read_both(plain, opposite)
    return opposite if isinstance(plain, Verdict) else plain


def _number(result: ModeResult, criterion: Criterion, floor: float) -> float | None:
    if abstains(result.label_mass, floor):
        return None
    if isinstance(result, Rating):
        return result.expected
    if isinstance(result, LevelVerdict):
        return expected_value(result.p_levels, criterion.options)
    assert isinstance(result, Verdict)  # the exam asks for no values
    return result.p_met
