"""The one orchestrator: candidates in, judgements and scores out, each as soon as it is there.

Always true: each criterion of each candidate ends as one judgement, by a rule, the cache or the judge, or with the
reason why there is none; what cannot be aggregated, and what is not let in, is refused before anything is judged.
"""

from collections.abc import Mapping, Sequence

from service.clock import Clock
from service.errors import InvalidRequest
from service.modes.escalation import OFF, Again, Escalation
from service.modes.modes import JudgingMode
from service.rubrics import aggregation
from service.rubrics.rubric import Candidate
from service.scheduling import Scheduler
from service.scoring.evaluator import Evaluator
from service.scoring.job import ScoringJob
from service.scoring.pending import Options, Usage
from service.scoring.results import Scored
from service.verifiers.pool import RulePool

DEFAULT = ("verdict", "rubricd")


class Scorer:
    """`ways` by mode and layout; ("verdict", "rubricd") is always there."""

    def __init__(
        self,
        *,
        judging_modes: Mapping[tuple[str, str], JudgingMode],
        evaluator: Evaluator,
        scheduler: Scheduler,
        rules: RulePool,
        clock: Clock,
        escalation: Escalation = OFF,
    ) -> None:
        self.judging_modes = judging_modes
        self._evaluator = evaluator
        self._scheduler = scheduler
        self._rules = rules
        self._clock = clock
        self._escalation = escalation

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
        await self._evaluator.drain(self._clock, until_s)

    def judging_mode(self, mode: str, layout: str) -> JudgingMode:
        """Raises InvalidRequest where this judge cannot be asked so."""
        try:
            return self.judging_modes[mode, layout]
        except KeyError:
            layouts = [served for asked, served in self.judging_modes if asked == mode]
            place, named = ("layout", f"layout `{layout}`") if layouts else ("mode", f"mode `{mode}`")
            with_layouts = f" in mode `{mode}`; it serves {', '.join(layouts)}" if layouts else ""
            message = f"this judge cannot be asked with {named}{with_layouts}"
            raise InvalidRequest(message, (((place,), message),)) from None

    async def score(self, candidates: Sequence[Candidate], options: Options) -> tuple[list[Scored], Usage]:
        """One Scored a candidate, same order. Raises as `start`."""
        begun = await self.start(candidates, options)
        found = {place: one async for place, one in begun.scored()}
        return [found[place] for place in range(len(candidates))], begun.usage

    async def start(self, candidates: Sequence[Candidate], options: Options) -> ScoringJob:
        """The request, let in; iterate over it once, or `close` it. Raises InvalidRequest for what cannot be scored as
        asked, Overloaded, QuotaExceeded or Unavailable where the judge cannot take the work."""
        judging_mode = self.judging_mode(options.mode, options.layout)
        _check(candidates, options, judging_mode)
        self._rules.check_capacity(c.rule for one in candidates for c in one.criteria if c.rule is not None)
        begun = ScoringJob(
            judging_mode, candidates, options, evaluator=self._evaluator, rules=self._rules, clock=self._clock
        )
        return await begun.ask(self._again(options))

    def _again(self, options: Options) -> Again | None:
        """How uncertain verdicts are asked again, where they are."""
        judging_mode = self.judging_modes.get(("reasoned", options.layout))
        if options.mode != "verdict" or judging_mode is None or self._escalation.band <= 0:
            return None
        return Again(judging_mode, self._escalation)


def _check(candidates: Sequence[Candidate], options: Options, judging_mode: JudgingMode) -> None:
    """Raise InvalidRequest for what judging could not mend."""
    if not judging_mode.renderer.skeleton.referable and any(
        candidate.reference is not None for candidate in candidates
    ):
        raise InvalidRequest(f"layout `{options.layout}` has no place for a `reference`; leave it out")
    if options.rates:
        return
    for criteria in {id(candidate.criteria): candidate.criteria for candidate in candidates}.values():
        aggregation.check(options.aggregation, criteria)
