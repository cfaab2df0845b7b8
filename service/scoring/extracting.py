"""Has the judge extract values from responses, and has rules decide about each as soon as it is there.

Guarantees: the right value reaches the rule and no prompt. A response that states no value is not met; where the judge
gave none, or one that the response does not state, the criterion has a status that says why, and no verdict.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.errors import Cancelled, InvalidRequest, JudgementError, RequestError, SharedRequestRejected, TimedOut
from service.modes.extraction import Extracted, states_nothing
from service.modes.level_reading import NO_READINGS
from service.modes.modes import JudgingMode, Query, RatingMode, ReasonedMode, VerdictMode
from service.rubrics.judgement import Judgement, Source, failed
from service.rubrics.rubric import Candidate, Criterion, Rule
from service.scoring.evaluator import Evaluator, release_all
from service.scoring.request import Options, Usage
from service.scoring.results import Pending
from service.verifiers.checks import unmetered
from service.verifiers.pool import RulePool

Place = tuple[int, int]
"""Candidate and criterion, by index."""


@dataclass(slots=True)
class Extractions:
    """The extractions of one request: those that are decided, and those that are under way."""

    decided: dict[Place, Judgement] = field(default_factory=dict)
    open: dict[Place, asyncio.Task[Judgement]] = field(default_factory=dict)
    pending: list[Pending] = field(default_factory=list)

    def judgement(self, place: Place) -> Judgement | None:
        """None where nothing is extracted at this place. What is under way has not come in time."""
        if place in self.decided:
            return self.decided[place]
        if (task := self.open.get(place)) is None:
            return None
        if not task.done():
            return failed(TimedOut("the deadline passed before the value was extracted and checked"), "judge")
        return failed(Cancelled("nobody waited for it"), "judge") if task.cancelled() else task.result()

    def release(self) -> None:
        """Nothing waits for them any more."""
        for task in self.open.values():
            task.cancel()
        release_all(self.pending)
        self.pending = []


def check_more_than_verdicts(judging_mode: JudgingMode, options: Options, criteria: Sequence[Criterion]) -> None:
    """Raises InvalidRequest for a criterion with levels, choices or a value to extract that cannot be judged so."""
    if isinstance(judging_mode, RatingMode):
        return  # it rates the whole rubric, and judges no criterion
    for criterion in criteria:
        if criterion.plain or criterion.rule is not None:
            continue
        readings = judging_mode.readings if isinstance(judging_mode, VerdictMode | ReasonedMode) else NO_READINGS
        readings.check(criterion)
        if options.consistency == 2 or options.debias:
            field = "consistency" if options.consistency == 2 else "debias"
            message = (
                f"`{field}` is for criteria that are met or not, and criterion `{criterion.id}` has levels, choices or "
                "a value; leave it out"
            )
            raise InvalidRequest(message, (((field,), message),))


async def start_extractions(
    judging_mode: JudgingMode,
    candidates: Sequence[Candidate],
    places: Sequence[Place],
    options: Options,
    usage: Usage,
    *,
    evaluator: Evaluator,
    rules: RulePool,
) -> Extractions:
    """Returns once every query is admitted. Raises RequestError; then nothing is extracted."""
    found = Extractions()
    asked: list[Place] = []
    for place in places:
        if states_nothing(candidates[place[0]]):
            found.decided[place] = _unmet("the response states nothing, so the judge was not asked", "rule")
        else:
            asked.append(place)
    if not asked:
        return found
    if options.rule_meter is not None:
        await options.rule_meter.admit()
    queries = [Query(candidates[i], candidates[i].criteria[j]) for i, j in asked]
    found.pending = await evaluator.evaluate(judging_mode, queries, options, usage)
    for (i, j), pending in zip(asked, found.pending, strict=True):
        extraction = candidates[i].criteria[j].extraction
        assert extraction is not None
        work = _decide(pending, extraction.rule, options, rules)
        found.open[i, j] = asyncio.create_task(work, name="extraction")
    return found


async def _decide(pending: Pending, rule: Rule, options: Options, rules: RulePool) -> Judgement:
    """The rule's verdict on the value that the judge extracts."""
    if pending.flights:
        await asyncio.wait([flight.future for flight in pending.flights])
    source = pending.source
    try:
        extracted = pending.result()
        if not isinstance(extracted, Extracted):
            raise TypeError("an extraction was answered with something else than a value")
        if extracted.value is None:
            return _unmet("the response states no such value", source)
        met = await _checked(rule, extracted.value, options, rules)
    except JudgementError as error:
        return failed(error.with_traceback(None), source)
    return Judgement(status="ok", source=source, met=met, extracted=extracted.value)


async def _checked(rule: Rule, value: str, options: Options, rules: RulePool) -> bool:
    """Raises JudgementError where the rule could not find out."""
    charge = unmetered if options.rule_meter is None else options.rule_meter.charge
    try:
        check = await rules.submit([(rule, value)], options.tenant, charge)
    except RequestError as error:
        raise SharedRequestRejected(f"the rule could not take the value: {error}") from None
    try:
        return await check.futures[0]
    finally:
        check.close()


def _unmet(detail: str, source: Source) -> Judgement:
    return Judgement(status="ok", source=source, met=False, detail=detail)
