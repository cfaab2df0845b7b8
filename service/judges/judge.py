"""Defines what every judge of a deployment can do, an engine's as a composition of several.

A composition asks its members through `ask`, on the level of judgements: rules, thresholds of the aggregation and
scores are no member's business, so that they happen once.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

from service.modes.comparison import Pair
from service.modes.fingerprint import JudgeIdentity
from service.modes.served_modes import JudgingModes, Served
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate
from service.scoring.comparing import Compared
from service.scoring.exam.grading import Grade, Trust
from service.scoring.request import Options, RequestContext, Usage
from service.scoring.results import Scored


class Judging(Protocol):
    """Candidates that a judge is judging. `usage` is complete after the last candidate."""

    @property
    def usage(self) -> Usage: ...

    def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        """Each candidate's index and a judgement for each of its criteria, in the order of finishing and not after the
        deadline. Iterate once, or `close`."""
        ...

    def close(self) -> None:
        """Nobody waits for the judgements any more. May be called again."""
        ...


class Judge(Protocol):
    """A judge that a composition may ask. `judging_modes` are the ways in which it is asked."""

    @property
    def judging_modes(self) -> JudgingModes[Any]: ...

    @property
    def unavailable_reason(self) -> str | None:
        """Why nothing can be judged now; None when it can."""

    @property
    def dead(self) -> bool:
        """Nothing will be judged any more in this process."""

    @property
    def max_model_len(self) -> int:
        """Longest prompt that it reads, in tokens."""

    def trust_of(self, judge: JudgeIdentity) -> Trust:
        """How far its verdicts can be trusted, by its exam."""

    def queries_each(self, options: Options) -> int:
        """The most queries for one criterion with these options. Raises InvalidRequest where it does not serve them."""

    def check_askable(self, candidates: Sequence[Candidate], options: Options) -> None:
        """Raises InvalidRequest for what it cannot be asked with these options."""

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> Judging:
        """The candidates, admitted: none of their criteria has a rule. Raises RequestError; then nothing is judged."""


class Job(Protocol):
    """An admitted request. `usage` is complete after the last candidate."""

    @property
    def usage(self) -> Usage: ...

    def scored(self) -> AsyncGenerator[tuple[int, Scored], None]:
        """Each candidate's index and score, in the order of finishing."""
        ...

    def close(self) -> None:
        """Nobody waits for the results any more. May be called again."""
        ...


class ScoringJudge(Judge, Protocol):
    """A judge that a request may name."""

    @property
    def grades(self) -> Mapping[str, Grade]:
        """The results of its exams that are over, by fingerprint."""

    async def score(self, candidates: Sequence[Candidate], options: Options) -> tuple[list[Scored], Usage]:
        """One Scored for each candidate, in order. Raises as `start`."""

    async def start(self, candidates: Sequence[Candidate], options: Options) -> Job:
        """The request, admitted; iterate over `scored` once, or `close` it. Raises RequestError."""

    def comparison_mode(self) -> Served:
        """How this judge compares two responses. Raises InvalidRequest where it does not."""

    async def compare(self, pairs: Sequence[Pair], context: RequestContext, usage: Usage) -> list[Compared]:
        """One for each pair, in order; `usage` counts as they are judged. Raises RequestError."""
