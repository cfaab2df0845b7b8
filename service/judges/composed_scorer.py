"""Scores candidates by a composition of judges: rules run once, the composition is asked the rest, and scores are made.

Guarantees: each criterion of each candidate ends as one judgement, or with the reason why there is none. What cannot be
aggregated, or is not admitted, is refused before anything is judged.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import NoReturn, Protocol, Self

from service.clock import Clock
from service.errors import InvalidRequest
from service.judges.composition import ComposedMode
from service.judges.joining import Part, joined, shares, total
from service.judges.judge import Judge, Judging
from service.modes.comparison import Pair
from service.modes.fingerprint import JudgeIdentity
from service.modes.served_modes import JudgingModes
from service.rubrics import aggregation
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate, Criterion
from service.scoring.comparing import Compared
from service.scoring.exam.grading import Grade, Trust
from service.scoring.open_results import OpenResults
from service.scoring.request import Options, RequestContext, Usage
from service.scoring.results import Scored, judged_by_rule
from service.scoring.rule_checks import score_of, start_checks
from service.verifiers.pool import RulePool


class Composed(Judge, Protocol):
    """A composition, by its name and kind."""

    name: str
    kind: str
    rule: Mapping[str, str]

    @property
    def judging_modes(self) -> JudgingModes[ComposedMode]: ...

    @property
    def grades(self) -> Mapping[str, Grade]: ...


class ComposedScorer:
    """A composition that requests may name."""

    def __init__(self, composition: Composed, rules: RulePool, clock: Clock) -> None:
        self.composition = composition
        self.judging_modes = composition.judging_modes
        self._rules = rules
        self._clock = clock

    @property
    def unavailable_reason(self) -> str | None:
        return self.composition.unavailable_reason

    @property
    def dead(self) -> bool:
        return self.composition.dead

    @property
    def max_model_len(self) -> int:
        return self.composition.max_model_len

    @property
    def grades(self) -> Mapping[str, Grade]:
        return self.composition.grades

    def trust_of(self, judge: JudgeIdentity) -> Trust:
        return self.composition.trust_of(judge)

    def queries_each(self, options: Options) -> int:
        self.judging_modes.choose(*options.way)
        return self.composition.queries_each(options)

    def check_askable(self, candidates: Sequence[Candidate], options: Options) -> None:
        self.composition.check_askable(candidates, options)

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> Judging:
        return await self.composition.ask(candidates, options)

    async def score(self, candidates: Sequence[Candidate], options: Options) -> tuple[list[Scored], Usage]:
        """One Scored for each candidate, in order. Raises as `start`."""
        job = await self.start(candidates, options)
        scored: dict[int, Scored] = {}
        async with aclosing(job.scored()) as finished:
            async for index, one in finished:
                scored[index] = one
        return [scored[index] for index in range(len(candidates))], job.usage

    async def start(self, candidates: Sequence[Candidate], options: Options) -> "ComposedJob":
        """The request, admitted; iterate over `scored` once, or `close` it. Raises RequestError."""
        self.composition.check_askable(candidates, options)
        if options.debias:
            message = f"`debias` needs one judge with a certificate, and `{self.composition.name}` is of several"
            raise InvalidRequest(message, ((("debias",), message),))
        checked: tuple[Criterion, ...] | None = None
        for candidate in candidates:
            if candidate.criteria is not checked:  # responses of one item share their criteria
                checked = candidate.criteria
                aggregation.check(options.aggregation, checked)
        return await ComposedJob(self.composition, candidates, options, rules=self._rules, clock=self._clock).start()

    def comparison_mode(self) -> ComposedMode:
        """Raises InvalidRequest: a composition compares no responses."""
        self._compares_nothing()

    async def compare(self, pairs: Sequence[Pair], context: RequestContext, usage: Usage) -> list[Compared]:
        """Raises InvalidRequest."""
        self._compares_nothing()

    def _compares_nothing(self) -> NoReturn:
        names = ", ".join(f"`{one.name}`" for one in self.judging_modes.first.judge.members)
        instead = f"name a member as `judge`: {names}" if names else "ask the service that has it"
        message = f"`{self.composition.name}` is a {self.composition.kind} judge and compares no responses; {instead}"
        raise InvalidRequest(message, ((("judge",), message),))


class ComposedJob:
    """One admitted request to a composition. `usage` is complete after the last candidate."""

    def __init__(
        self, judge: Judge, candidates: Sequence[Candidate], options: Options, *, rules: RulePool, clock: Clock
    ) -> None:
        self._judge = judge
        self._candidates = candidates
        self._options = options
        self._rules = rules
        self._clock = clock
        self._checks = OpenResults()
        self._asked: Part | None = None
        self._places: list[list[int]] = [[] for _ in candidates]
        """For each candidate the criteria that the judges are asked."""

    @property
    def usage(self) -> Usage:
        return Usage() if self._asked is None else total([self._asked.judging.usage])

    async def start(self) -> Self:
        """Returns once everything is admitted. Raises RequestError; then nothing is judged."""
        try:
            left, self._checks.checks, self._checks.rules = await start_checks(
                self._candidates, self._options, self._rules
            )
            for i, j in left:
                self._places[i].append(j)
            asked, of = shares(self._candidates, self._places)
            if asked:
                self._asked = Part(await self._judge.ask(asked, self._options), of)
        except BaseException:
            self.close()
            raise
        return self

    async def scored(self) -> AsyncGenerator[tuple[int, Scored], None]:
        """Each candidate's index and score, in the order of finishing."""
        parts = [] if self._asked is None else [self._asked]
        if self._checks.checks:
            ruled = {i for i, _ in self._checks.checks}
            parts.append(Part(_Ruled(self._checks, self._candidates, self._options, self._clock, ruled), sorted(ruled)))
        try:
            async with aclosing(joined(parts, len(self._candidates))) as finished:
                async for i, found in finished:
                    asked = found.get(0, ()) if self._asked is not None else ()
                    yield i, score_of(self._candidates[i], self._in_order(i, asked), self._options)
        finally:
            self.close()

    def _in_order(self, i: int, asked: Sequence[Judgement]) -> list[Judgement]:
        of_judge = dict(zip(self._places[i], asked, strict=True))
        return [
            of_judge[j] if j in of_judge else judged_by_rule(self._checks.checks[i, j])
            for j in range(len(self._candidates[i].criteria))
        ]

    def close(self) -> None:
        """Nothing waits for the results any more; what only this request wanted is not judged."""
        self._checks.release()
        if self._asked is not None:
            self._asked.judging.close()


class _Ruled:
    """Says when the rules have decided about a candidate. What they decided is read from the checks."""

    def __init__(
        self, checks: OpenResults, candidates: Sequence[Candidate], options: Options, clock: Clock, ruled: set[int]
    ) -> None:
        self.usage = Usage()
        self._checks = checks
        self._candidates = len(candidates)
        self._options = options
        self._clock = clock
        self._places = {i: k for k, i in enumerate(sorted(ruled))}

    async def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        finished = self._checks.finished(self._candidates, self._clock, self._options.deadline_s)
        async with aclosing(finished) as indexes:
            async for i in indexes:
                if i in self._places:
                    yield self._places[i], ()

    def close(self) -> None:
        """The job releases the checks."""
