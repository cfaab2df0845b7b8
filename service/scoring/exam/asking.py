"""Asks a judge known questions through the scheduler, past every cache, and follows each step of the mode.

Guarantees: one answer a question, in order. A question that the judge gives no verdict on, or abstains from, has None.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from service.engine.base import EngineQuery, EngineResult
from service.errors import EngineFailed, JudgementError, TooLong
from service.modes.label_verdict import read_both
from service.modes.modes import JudgingMode, ModeResult, Query, Reads, Step, VerdictMode, render_prompts
from service.modes.rating import Rating
from service.rubrics.judgement import BatchVerdict, Verdict, abstains
from service.rubrics.levels import LevelVerdict
from service.rubrics.rubric import Criterion
from service.scheduling import Scheduler
from service.scoring.exam.questions import Question
from service.scoring.ticket_group import answer_of
from trainer_client.level_choice import expected_value

Answers = list[float | None]


async def answers_of(judging_mode: JudgingMode, questions: Sequence[Question], scheduler: Scheduler) -> Answers:
    """P(met) of each question, or its expected rating or value. Raises Unavailable or Overloaded where the scheduler
    refuses the questions, EngineFailed where the engine failed on one: then nothing is known about the judge."""
    if judging_mode.judge.batch is not None:
        return await _in_batches(judging_mode, questions, scheduler)
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
    results: dict[int, ModeResult | JudgementError] = {}
    steps: dict[int, Step | Reads] = {}
    for place, (prompt, query) in enumerate(zip(prompts, queries, strict=True)):
        try:
            steps[place] = judging_mode.first_step(prompt, query)
        except TooLong as error:
            results[place] = error.with_traceback(None)
    first = True
    while steps:
        asked = [(place, query) for place, step in steps.items() for query in _queries(step)]
        tickets = scheduler.submit(
            [query for _, query in asked],
            [None] * len(asked),
            groups=[id(queries[place].candidate) for place, _ in asked],  # what shares its prefix
            next_step=not first,
        )
        await asyncio.wait([ticket.future for ticket in tickets])
        answered = iter(tickets)
        following: dict[int, Step | Reads] = {}
        for place, step in steps.items():
            taken = _take(judging_mode, step, [answer_of(next(answered)) for _ in _queries(step)])
            if isinstance(taken, Step | Reads):
                following[place] = taken
            else:
                results[place] = taken
        steps, first = following, False
    return [results[place] for place in range(len(queries))]


def _queries(step: Step | Reads) -> Sequence[EngineQuery]:
    return step.queries if isinstance(step, Reads) else (step.query,)


def _take(
    judging_mode: JudgingMode, step: Step | Reads, answers: Sequence[EngineResult | JudgementError]
) -> Step | Reads | ModeResult | JudgementError:
    for answer in answers:
        if isinstance(answer, JudgementError) and (answer.retryable or isinstance(answer, EngineFailed)):
            raise answer
    if isinstance(step, Reads):
        return step.join(answers)
    [answer] = answers
    if isinstance(answer, JudgementError):
        return answer
    try:
        return judging_mode.next_step(step, answer)
    except JudgementError as error:
        return error.with_traceback(None)


async def _in_batches(judging_mode: JudgingMode, questions: Sequence[Question], scheduler: Scheduler) -> Answers:
    """The questions about one response are answered in one document."""
    batches: dict[int, list[int]] = {}
    for place, question in enumerate(questions):
        batches.setdefault(id(question.candidate), []).append(place)
    queries = []
    for places in batches.values():
        criteria = tuple(questions[place].criterion for place in places)
        queries.append(Query(replace(questions[places[0]].candidate, criteria=criteria), None, judgements=len(places)))
    answers: Answers = [None] * len(questions)
    floor = judging_mode.judge.mass_floor
    for places, result in zip(batches.values(), await ask(judging_mode, queries, scheduler), strict=True):
        if isinstance(result, BatchVerdict):
            for place, one in zip(places, result.verdicts, strict=True):
                if isinstance(one, Verdict):
                    answers[place] = _number(one, questions[place].criterion, floor)
    return answers


def _both(plain: ModeResult | JudgementError, opposite: ModeResult | JudgementError) -> ModeResult | JudgementError:
    """The verdict of two askings; where one of them has none, its reason."""
    if isinstance(plain, Verdict) and isinstance(opposite, Verdict):
        return read_both(plain, opposite)
    return opposite if isinstance(plain, Verdict) else plain


def _number(result: ModeResult, criterion: Criterion, floor: float) -> float | None:
    assert isinstance(result, Rating | Verdict | LevelVerdict)  # the exam asks for no values
    if abstains(result.label_mass, floor):
        return None
    if isinstance(result, Rating):
        return result.expected
    if isinstance(result, LevelVerdict):
        return expected_value(result.p_levels, [option.value for option in criterion.options])
    return result.p_met
