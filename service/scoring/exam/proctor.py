"""The proctor asks each way of judging the exam once, and says how far its verdicts can be trusted.

The default way sits its exam at the start, another one when it is first wanted: written answers, or a long layout, take
a slow judge minutes. How options are read by their labels has an exam of its own, after the start, beside the requests.

Guarantees: a way that failed its exam judges nothing, and a way that can fail judges nothing before its exam is over.
A toy cannot fail: nobody believes it anyway, and a dry run needs every mode. An engine that fails during an exam proves
nothing about the judge, so the exam is asked again.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from service.clock import Clock, wait_all
from service.errors import ConfigurationError, InvalidRequest, Unavailable
from service.modes.fingerprint import JudgeIdentity
from service.modes.modes import JudgingMode, VerdictMode
from service.modes.served_modes import Way
from service.observability import Telemetry
from service.scheduling import Scheduler
from service.scoring.exam.asking import Answers, answers_of
from service.scoring.exam.grading import Grade, Trust, grade
from service.scoring.exam.questions import Exam, Question

log = logging.getLogger(__name__)

_AGAIN_S = 10.0


class NoExam:
    """Where no exam is asked nothing is proven, and nothing fails."""

    grades: Mapping[str, Grade] = MappingProxyType({})

    def trust_of(self, judge: JudgeIdentity) -> Trust:
        return "unproven"

    async def admit(self, judging_mode: JudgingMode, deadline_s: float | None) -> None:
        """Admits every mode."""

    def answers_of(self, judge: JudgeIdentity) -> Answers | None:
        return None

    def questions_for(self, judge: JudgeIdentity) -> Sequence[Question]:
        return ()


NO_EXAM = NoExam()


class Proctor:
    """`grades` are by fingerprint, of the exams that are over."""

    def __init__(self, exam: Exam, scheduler: Scheduler, clock: Clock, telemetry: Telemetry) -> None:
        self._exam = exam
        self._scheduler = scheduler
        self._clock = clock
        self._telemetry = telemetry
        self._sittings: dict[str, asyncio.Task[Answers]] = {}
        self.grades: dict[str, Grade] = {}

    def trust_of(self, judge: JudgeIdentity) -> Trust:
        """Unproven before the end of its exam."""
        found = self.grades.get(judge.fingerprint)
        return "unproven" if found is None else found.trust

    async def examine_first(self, modes: Iterable[JudgingMode]) -> None:
        """Examines these in order until one does not fail. Raises ConfigurationError where all do: then there is
        nothing to serve."""
        failed: list[str] = []
        for judging_mode in modes:
            if (error := await self._sits(judging_mode)) is not None:
                log.warning("the exam could not be asked: %s", error)
                return
            found = self.grades[judging_mode.judge.fingerprint]
            if found.trust != "failed":
                _warn(judging_mode.judge, found)
                return
            failed.append(f"{_described(judging_mode.judge)}: {found.reason}")
        raise ConfigurationError(f"the judge can be asked in no way: {'; '.join(failed)}. Name another `judge`")

    async def examine_options(self, judging_mode: JudgingMode) -> None:
        """Returns once it is known how well this way reads options by their labels. One that reads none, and a toy, sit
        no exam of it."""
        reading = judging_mode.readings.levels if isinstance(judging_mode, VerdictMode) else None
        if reading is None or judging_mode.judge.identity.toy:
            return
        while (error := await self._sits(judging_mode, of=reading.judge)) is not None:
            log.warning("the exam of options could not be asked: %s", error)
            await self._clock.sleep(_AGAIN_S)
        found = self.grades[reading.judge.fingerprint]
        if found.trust != "proven":
            log.info("judge %s is unproven in reading options: %s", reading.judge.identity.model, found.reason)

    async def admit(self, judging_mode: JudgingMode, deadline_s: float | None) -> None:
        """Waits for the end of the mode's exam, if it can fail. Raises InvalidRequest where it failed, Unavailable
        where it could not be asked before the deadline."""
        judge = judging_mode.judge
        if judge.identity.toy:
            return
        if judge.fingerprint not in self.grades:
            await self._sits(judging_mode, deadline_s)
        found = self.grades.get(judge.fingerprint)
        if found is None:
            raise Unavailable(f"{_described(judge)} has not sat its exam yet; try again", _AGAIN_S)
        if found.trust == "failed":
            message = f"this judge does not serve {_described(judge)}: {found.reason}"
            field = "mode" if judge.batch is None else "batch"
            place = () if judge.mode == "compare" else ((((field,), message),))
            raise InvalidRequest(message, place)

    def answers_of(self, judge: JudgeIdentity) -> Answers | None:
        """Its answers in the exam; None before the end."""
        sitting = self._sittings.get(judge.fingerprint)
        return sitting.result() if sitting is not None and sitting.done() else None

    def questions_for(self, judge: JudgeIdentity) -> Sequence[Question]:
        return self._exam.for_mode(judge.mode)

    async def _sits(
        self, judging_mode: JudgingMode, deadline_s: float | None = None, *, of: JudgeIdentity | None = None
    ) -> str | None:
        """Waits for the way's one exam, or for that `of` one of its readings, until the deadline. Returns why it could
        not be asked, if it could not."""
        judge = of or judging_mode.judge
        key = judge.fingerprint
        if key in self.grades:
            return None
        sitting = self._sittings.get(key)
        if sitting is None:
            asking = self._ask(judging_mode, judge)
            sitting = self._sittings[key] = asyncio.get_running_loop().create_task(asking, name="exam")
            sitting.add_done_callback(partial(self._ended, key))
        await wait_all(self._clock, [sitting], deadline_s)
        error = sitting.exception() if sitting.done() and not sitting.cancelled() else None
        return None if error is None else f"{type(error).__name__}: {error}"

    async def _ask(self, judging_mode: JudgingMode, judge: JudgeIdentity) -> Answers:
        questions = self._exam.for_mode(judge.mode)
        answers = await answers_of(judging_mode, questions, self._scheduler)
        found = grade(judge.mode, questions, answers)
        if judge.identity.toy and found.trust == "failed":
            found = replace(found, trust="unproven")
        self.grades[judge.fingerprint] = found
        prompt = judge.prompt or ""
        way = (judge.mode, judge.layout, prompt if judge.batch is None else f"batch: {judge.batch}")
        self._telemetry.record_exam(way, found.accuracy, proven=found.trust == "proven")
        if found.trust == "failed":
            log.warning("%s is not served: %s", _described(judge), found.reason)
        return answers

    def _ended(self, key: str, sitting: asyncio.Task[Answers]) -> None:
        if sitting.cancelled() or sitting.exception() is not None:
            del self._sittings[key]  # the next one who wants to know asks it again


def _described(judge: JudgeIdentity) -> str:
    return Way(judge.mode, judge.layout, judge.prompt, judge.batch).described


def _warn(judge: JudgeIdentity, found: Grade) -> None:
    if found.trust == "proven":
        return
    low, high = found.interval
    log.warning(
        "judge %s is unproven: %s (%.2f to %.2f, where chance is 0.5): compare it with labels before you believe it",
        judge.identity.model,
        found.reason,
        low,
        high,
    )
