"""The scorer turns candidates into judgements and scores, by rules, caches and the judge.

Guarantees: each criterion of each candidate ends as one judgement, or with the reason why there is none. What cannot be
aggregated, or is not admitted, is refused before anything is judged.
"""

from collections.abc import Mapping, Sequence

from service.clock import Clock
from service.errors import InvalidRequest, RequestError
from service.modes.batched import BatchedMode
from service.modes.calibration import Calibration, sign_of
from service.modes.comparison import Pair
from service.modes.escalation import OFF, Escalation, SecondOpinion
from service.modes.fingerprint import JudgeIdentity
from service.modes.modes import JudgingMode, RatingMode, asks_twice
from service.modes.served_modes import COMPARED, JudgingModes, Way
from service.modes.text_batches import TextBatchedMode
from service.rubrics import aggregation
from service.rubrics.debias import check_rates
from service.rubrics.rubric import Candidate, Criterion
from service.scheduling import Scheduler
from service.scoring.comparing import Compared, compare
from service.scoring.evaluator import Evaluator
from service.scoring.exam.grading import Grade, Trust
from service.scoring.exam.proctor import NO_EXAM, NoExam, Proctor
from service.scoring.extracting import check_more_than_verdicts
from service.scoring.job import ScoringJob
from service.scoring.request import Options, RequestContext, Usage
from service.scoring.results import Scored
from service.verifiers.pool import RulePool

DEFAULT = ("verdict", "rubricd")


class Scorer:
    """`judging_modes` are the ways in which this judge is asked. `evaluator` shows what is open."""

    def __init__(
        self,
        *,
        judging_modes: JudgingModes,
        evaluator: Evaluator,
        scheduler: Scheduler,
        rules: RulePool,
        clock: Clock,
        proctor: Proctor | NoExam = NO_EXAM,
        escalation: Escalation = OFF,
    ) -> None:
        self.judging_modes = judging_modes
        self.proctor = proctor
        self.evaluator = evaluator
        self._scheduler = scheduler
        self._rules = rules
        self._clock = clock
        self._escalation = escalation

    @property
    def grades(self) -> Mapping[str, Grade]:
        """The results of the exams that are over, by fingerprint."""
        return self.proctor.grades

    def trust_of(self, judge: JudgeIdentity) -> Trust:
        """How far its verdicts can be trusted, by its exam."""
        return self.proctor.trust_of(judge)

    def queries_each(self, options: Options) -> int:
        """Queries for each criterion with these options. Raises InvalidRequest where this judge does not serve them."""
        return options.votes * (2 if asks_twice(self._mode(options), options.consistency) else 1)

    def _mode(self, options: Options) -> JudgingMode:
        return self.judging_modes.choose(*options.way)

    @property
    def unavailable_reason(self) -> str | None:
        """Why nothing can be judged now; None when it can."""
        return self._scheduler.unavailable_reason

    @property
    def dead(self) -> bool:
        """Nothing will be judged any more in this process."""
        return self._scheduler.dead

    @property
    def load_tokens(self) -> int:
        """Tokens that wait in the queue, and tokens at the engine."""
        return self._scheduler.queued_tokens + self._scheduler.in_flight_tokens

    @property
    def max_model_len(self) -> int:
        """Longest prompt that the judge reads, in tokens."""
        return self._scheduler.max_model_len

    async def drain(self, grace_s: float) -> None:
        """Refuse new work, finish what was accepted; what is left after `grace_s` ends as cancelled."""
        until_s = self._clock.now() + grace_s
        await self._scheduler.drain(grace_s)
        await self.evaluator.drain(self._clock, until_s)

    async def score(self, candidates: Sequence[Candidate], options: Options) -> tuple[list[Scored], Usage]:
        """One Scored for each candidate, in order. Raises as `start`."""
        job = await self.start(candidates, options)
        scored: dict[int, Scored] = {}
        async for index, one in job.scored():
            scored[index] = one
        return [scored[index] for index in range(len(candidates))], job.usage

    async def start(self, candidates: Sequence[Candidate], options: Options) -> ScoringJob:
        """The request, admitted; iterate over `scored` once, or `close` it. Raises InvalidRequest for what cannot be
        scored with these options, Overloaded, QuotaExceeded or Unavailable where the judge or the rules cannot take the
        work."""
        judging_mode = self._mode(options)
        if not isinstance(judging_mode, RatingMode):  # the rubric as a whole: no rule runs, nothing is aggregated
            _check_aggregation(candidates, options, judging_mode)
        return await self.ask(candidates, options)

    def check_askable(self, candidates: Sequence[Candidate], options: Options) -> None:
        """Raises InvalidRequest for what this judge cannot be asked with these options."""
        _check_askable(candidates, options, self._mode(options))

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> ScoringJob:
        """As `start`, for a composition, which makes the scores: iterate over `judged` once, or `close` it."""
        judging_mode = self._mode(options)
        _check_askable(candidates, options, judging_mode)
        await self.proctor.admit(judging_mode, options.deadline_s)
        second_opinion = await self._second_opinion(options)
        job = ScoringJob(
            judging_mode,
            candidates,
            options,
            evaluator=self.evaluator,
            rules=self._rules,
            clock=self._clock,
            second_opinion=second_opinion,
        )
        return await job.start()

    def comparison_mode(self) -> JudgingMode:
        """How this judge compares two responses. Raises InvalidRequest where it does not."""
        way = Way(*COMPARED)
        found = self.judging_modes.ways.get(way)
        if found is None:
            raise InvalidRequest(
                f"this judge compares no responses ({self.judging_modes.refused.get(way, 'it has no such mode')}); "
                "score each of them with `POST /v1/score`"
            )
        return found

    async def compare(self, pairs: Sequence[Pair], context: RequestContext, usage: Usage) -> list[Compared]:
        """One for each pair, in order; `usage` counts as they are judged. Raises InvalidRequest where this judge does
        not compare, Overloaded, QuotaExceeded or Unavailable where it cannot take the work."""
        judging_mode = self.comparison_mode()
        await self.proctor.admit(judging_mode, context.deadline_s)
        return await compare(judging_mode, pairs, context, usage, evaluator=self.evaluator, clock=self._clock)

    async def _second_opinion(self, options: Options) -> SecondOpinion | None:
        """None where verdicts are not judged again, or the mode that would do it fails its exam."""
        written = self.judging_modes.get(("reasoned", options.layout))
        if self._escalation.band <= 0 or options.mode != "verdict" or written is None:
            return None
        try:
            await self.proctor.admit(written, options.deadline_s)
        except RequestError:
            return None
        return SecondOpinion(written, self._escalation)


def _check_askable(candidates: Sequence[Candidate], options: Options, judging_mode: JudgingMode) -> None:
    """Raises InvalidRequest for what no verdict of this judge could be about."""
    if options.consistency == 2 and getattr(judging_mode, "opposite", None) is None:
        raise InvalidRequest(
            f"prompt `{judging_mode.judge.prompt}` has no question `opposite`; leave `consistency` out, or name "
            "another prompt as `judge_prompt`"
        )
    for criteria in {id(one.criteria): one.criteria for one in candidates}.values():  # responses of an item share them
        if isinstance(judging_mode, BatchedMode | TextBatchedMode):
            judging_mode.check(criteria)
        check_more_than_verdicts(judging_mode, options, criteria)
    if judging_mode.renderer.skeleton.referable:
        return
    if any(candidate.reference is not None for candidate in candidates):
        raise InvalidRequest(f"layout `{options.layout}` has no place for a `reference`; leave it out")
    if any(candidate.documents for candidate in candidates):
        raise InvalidRequest(f"layout `{options.layout}` has no place for `documents`; leave them out")


def _check_aggregation(candidates: Sequence[Candidate], options: Options, judging_mode: JudgingMode) -> None:
    """Raises InvalidRequest for what no judging could make scorable."""
    checked: tuple[Criterion, ...] | None = None
    for candidate in candidates:
        if candidate.criteria is not checked:  # responses of one item share their criteria
            checked = candidate.criteria
            aggregation.check(options.aggregation, checked)
            if options.debias:
                _check_debias(options, judging_mode.judge.calibration, checked)


def _check_debias(options: Options, calibration: Calibration | None, criteria: Sequence[Criterion]) -> None:
    """Raises InvalidRequest where no certificate says how often this judge errs with these options."""
    if calibration is None:
        message = "`debias` needs a judge with a certificate: load the `calibration` that `rubricd calibrate` wrote"
        raise InvalidRequest(message, ((("debias",), message),))
    if options.consistency == 2:
        message = "the judge's certificate is of one asking for each criterion; leave `consistency` or `debias` out"
        raise InvalidRequest(message, ((("consistency",), message),))
    if options.threshold != calibration.threshold:
        message = f"the judge's certificate holds at a threshold of {calibration.threshold:g}; `debias` needs that one"
        raise InvalidRequest(message, ((("threshold",), message),))
    check_rates(calibration.rates, {sign_of(one) for one in criteria if one.counted and one.rule is None})
