"""A judge of which a share of the judgements is also asked of a second one, its shadow.

Guarantees: it answers as the judge that it is made of, under the same fingerprint: verdicts, scores, usage, refusals
and failures are those, whatever becomes of the shadow.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from service.judges.judge import Job, Judging, ScoringJudge
from service.judges.shadow import Shadow
from service.modes.comparison import Pair
from service.modes.fingerprint import JudgeIdentity
from service.modes.served_modes import JudgingModes, Served
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate
from service.scoring.comparing import Compared
from service.scoring.exam.grading import Grade, Trust
from service.scoring.request import Options, RequestContext, Usage
from service.scoring.results import Scored


class Shadowed:
    """`judge` judges, and `shadow` sees what it said."""

    kind = "shadow"

    def __init__(self, name: str, judge: ScoringJudge, shadow: Shadow, share: float) -> None:
        self.name = name
        self.rule = {"shadow": shadow.name, "share": f"{share:g}"}
        self.judging_modes: JudgingModes[Any] = judge.judging_modes.replaced(
            {way: replace(mode, judge=replace(mode.judge, name=name)) for way, mode in judge.judging_modes.ways.items()}
        )
        self._judge = judge
        self._shadow = shadow

    @property
    def unavailable_reason(self) -> str | None:
        return self._judge.unavailable_reason

    @property
    def dead(self) -> bool:
        return self._judge.dead

    @property
    def max_model_len(self) -> int:
        return self._judge.max_model_len

    @property
    def grades(self) -> Mapping[str, Grade]:
        return self._judge.grades

    def trust_of(self, judge: JudgeIdentity) -> Trust:
        return self._judge.trust_of(judge)

    def queries_each(self, options: Options) -> int:
        return self._judge.queries_each(options)

    def check_askable(self, candidates: Sequence[Candidate], options: Options) -> None:
        self._judge.check_askable(candidates, options)

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> Judging:
        return _SeenJudging(await self._judge.ask(candidates, options), candidates, options, self._shadow)

    async def score(self, candidates: Sequence[Candidate], options: Options) -> tuple[list[Scored], Usage]:
        """One Scored for each candidate, in order. Raises as `start`."""
        found, usage = await self._judge.score(candidates, options)
        for one in found:
            self._shadow.offer(one.candidate, one.judgements, options)
        return found, usage

    async def start(self, candidates: Sequence[Candidate], options: Options) -> Job:
        """The request, admitted; iterate over `scored` once, or `close` it. Raises RequestError."""
        return _SeenJob(await self._judge.start(candidates, options), options, self._shadow)

    def comparison_mode(self) -> Served:
        """How this judge compares two responses. Raises InvalidRequest where it does not."""
        return self._judge.comparison_mode()

    async def compare(self, pairs: Sequence[Pair], context: RequestContext, usage: Usage) -> list[Compared]:
        """One for each pair, in order; no shadow sees them. Raises RequestError."""
        return await self._judge.compare(pairs, context, usage)


class _SeenJob:
    def __init__(self, job: Job, options: Options, shadow: Shadow) -> None:
        self._job = job
        self._options = options
        self._shadow = shadow

    @property
    def usage(self) -> Usage:
        return self._job.usage

    async def scored(self) -> AsyncGenerator[tuple[int, Scored], None]:
        async with aclosing(self._job.scored()) as scored:
            async for i, one in scored:
                yield i, one
                self._shadow.offer(one.candidate, one.judgements, self._options)

    def close(self) -> None:
        self._job.close()


class _SeenJudging:
    def __init__(self, judging: Judging, candidates: Sequence[Candidate], options: Options, shadow: Shadow) -> None:
        self._judging = judging
        self._candidates = candidates
        self._options = options
        self._shadow = shadow

    @property
    def usage(self) -> Usage:
        return self._judging.usage

    async def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        async with aclosing(self._judging.judged()) as judged:
            async for i, judgements in judged:
                yield i, judgements
                self._shadow.offer(self._candidates[i], judgements, self._options)

    def close(self) -> None:
        self._judging.close()
