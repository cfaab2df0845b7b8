"""One request that was let in: what it asked, and each candidate's score as soon as it is there.

Always true: each candidate is scored once; whoever stops listening frees what is still open.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Self

from service.clock import Clock
from service.errors import RequestError
from service.modes.escalation import Again
from service.modes.modes import JudgingMode, Question
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate
from service.scoring.evaluator import Evaluator
from service.scoring.pending import Options, Usage
from service.scoring.results import Scored, by_judge, by_rule, rated, scored
from service.scoring.round import Place, Round
from service.verifiers.pool import RulePool


class ScoringJob:
    """`usage` is whole after the last candidate."""

    def __init__(
        self,
        judging_mode: JudgingMode,
        candidates: Sequence[Candidate],
        options: Options,
        *,
        evaluator: Evaluator,
        rules: RulePool,
        clock: Clock,
    ) -> None:
        self.usage = Usage()
        self._way = judging_mode
        self._candidates = candidates
        self._options = options
        self._evaluator = evaluator
        self._rules = rules
        self._clock = clock
        self._round = Round()
        self._again: Again | None = None

    async def ask(self, again: Again | None) -> Self:
        """Returns once everything is let in. Raises RequestError, and then nothing is asked."""
        self._again = again
        try:
            if self._options.rates:
                whole = self._options.mode == "implicit"
                asked = [one if whole else replace(one, criteria=()) for one in self._candidates]
                await self._open(self._round, self._way, {(i, 0): [Question(c, None)] for i, c in enumerate(asked)})
            else:
                rules = self._check_rules()
                places = [place for place in self._places() if place not in rules]
                await self._open(self._round, self._way, self._questions(places))
        except BaseException:
            self.close()
            raise
        return self

    async def scored(self) -> AsyncGenerator[tuple[int, Scored], None]:
        """Each candidate's place and score, in the order of finishing."""
        try:
            async with aclosing(self._finished(self._round)) as finished:
                if self._again is None:
                    async for i in finished:
                        yield i, self._result(i)
                    return
                async for _ in finished:
                    pass
            for i, judged in enumerate(await self._asked_again(self._again)):
                yield i, self._scored(i, judged)
        finally:
            self.close()

    def close(self) -> None:
        """Nobody listens any more; what only this request wanted is not judged."""
        self._round.close()

    def _places(self) -> list[Place]:
        return [(i, j) for i, candidate in enumerate(self._candidates) for j in range(len(candidate.criteria))]

    def _check_rules(self) -> Mapping[Place, asyncio.Task[bool]]:
        for i, j in self._places():
            if (rule := self._candidates[i].criteria[j].rule) is not None:
                checking = self._rules.check(rule, self._candidates[i].response)
                self._round.checks[i, j] = asyncio.ensure_future(checking)
        checks = self._round.checks
        self._options.trace.until("rules", checks.values(), checks=len(checks))
        return checks

    def _questions(self, places: Iterable[Place]) -> dict[Place, list[Question]]:
        """As many questions a place as there are votes."""
        votes = [0] if self._options.votes == 1 else range(1, self._options.votes + 1)
        asked = {(i, j): (self._candidates[i], self._candidates[i].criteria[j]) for i, j in places}
        return {place: [Question(*of, vote) for vote in votes] for place, of in asked.items()}

    async def _open(
        self, round: Round, judging_mode: JudgingMode, questions: Mapping[Place, Sequence[Question]]
    ) -> None:
        flat = [question for votes in questions.values() for question in votes]
        pending = iter(await self._evaluator.open(judging_mode, flat, self._options.waiting, self.usage))
        for place, votes in questions.items():
            round.asked[place] = [next(pending) for _ in votes]

    def _finished(self, round: Round) -> AsyncGenerator[int, None]:
        return round.finished(len(self._candidates), self._clock, self._options.deadline_s)

    def _result(self, i: int) -> Scored:
        if self._options.rates:
            [pending] = self._round.asked[i, 0]
            return rated(self._candidates[i], pending, self._options.norm, self._way.judge.mass_floor)
        return self._scored(i, self._judged(i))

    def _judged(self, i: int) -> list[Judgement]:
        return [self._judgement(self._way, self._round, (i, j)) for j in range(len(self._candidates[i].criteria))]

    def _judgement(self, judging_mode: JudgingMode, round: Round, place: Place) -> Judgement:
        if place in round.checks:
            return by_rule(round.checks[place])
        return by_judge(round.asked[place], self._options.threshold, judging_mode.judge.mass_floor)

    def _scored(self, i: int, judged: Sequence[Judgement]) -> Scored:
        options = self._options
        return scored(
            self._candidates[i],
            judged,
            aggregation=options.aggregation,
            soft=options.soft,
            min_coverage=options.min_coverage,
        )

    async def _asked_again(self, again: Again) -> list[list[Judgement]]:
        """All judgements, the most uncertain verdicts replaced by written ones where those come about."""
        judged = [self._judged(i) for i in range(len(self._candidates))]
        places = self._places()
        chosen = [places[n] for n in sorted(again.escalation.choose([judged[i][j] for i, j in places]))]
        round = Round()
        try:
            await self._open(round, again.judging_mode, self._questions(chosen))
            async with aclosing(self._finished(round)) as finished:
                async for _ in finished:
                    pass
            for i, j in chosen:
                second = self._judgement(again.judging_mode, round, (i, j))
                judged[i][j] = second if second.ok else judged[i][j]
        except RequestError:  # no room for a second opinion: the first ones stand
            return judged
        finally:
            round.close()
        return judged
