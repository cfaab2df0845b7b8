"""A scoring job is one admitted request: its queries and rule checks, and each candidate's score as it finishes.

Guarantees: each candidate is scored once, as soon as nothing of it is open or the deadline has come. When the caller
stops listening, whatever is still open is released.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Self, TypeVar

from service.clock import Clock, Turns
from service.errors import RequestError
from service.modes.escalation import SecondOpinion
from service.modes.fingerprint import JudgeIdentity
from service.modes.modes import JudgingMode, Query, RatingMode, VerdictMode, asks_twice
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate
from service.scoring.batches import batch_queries, votes_of
from service.scoring.evaluator import Evaluator
from service.scoring.extracting import start_extractions
from service.scoring.open_results import OpenResults
from service.scoring.prior_queries import PriorQueries
from service.scoring.request import Options, Usage
from service.scoring.results import BothAskings, Scored, judge_levels, judge_votes, judged_by_rule, rated
from service.scoring.rule_checks import Place, score_of, start_checks
from service.verifiers.pool import RulePool

T = TypeVar("T")


class ScoringJob:
    """`usage` is complete after the last candidate. `second_opinion` is how uncertain verdicts are judged again, where
    they are."""

    def __init__(
        self,
        judging_mode: JudgingMode,
        candidates: Sequence[Candidate],
        options: Options,
        *,
        evaluator: Evaluator,
        rules: RulePool,
        clock: Clock,
        second_opinion: SecondOpinion | None,
    ) -> None:
        self.usage = Usage()
        self._judging_mode = judging_mode
        self._candidates = candidates
        self._options = options
        calibration = judging_mode.judge.calibration
        self._error_rates = calibration.rates if options.debias and calibration is not None else None
        self._rates = isinstance(judging_mode, RatingMode)  # one rating a candidate, not a verdict a criterion
        self._evaluator = evaluator
        self._rules = rules
        self._clock = clock
        self._second_opinion = second_opinion
        self._open = OpenResults()

    async def start(self) -> Self:
        """Returns once every query is admitted. Raises RequestError; then nothing is judged."""
        try:
            if self._rates:
                await self._start_ratings()
            else:
                left, self._open.checks, self._open.rules = await start_checks(
                    self._candidates, self._options, self._rules
                )
                extracted = [(i, j) for i, j in left if self._candidates[i].criteria[j].extraction is not None]
                if extracted:
                    taken = set(extracted)
                    left = [place for place in left if place not in taken]
                if self._judging_mode.judge.batch is not None:
                    await self._evaluate_batches(self._judging_mode, left)
                else:
                    await self._evaluate(self._open, self._judging_mode, left)
                if extracted:
                    await self._start_extractions(extracted)
        except BaseException:
            self.close()
            raise
        return self

    def scored(self) -> AsyncGenerator[tuple[int, Scored], None]:
        """Each candidate's index and score, in the order of finishing."""
        return self._each(self._result, self._score)

    def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        """Each candidate's index and its judgements, without a score, in the order of finishing; no ratings."""
        return self._each(self._judgements, lambda i, judgements: judgements)

    async def _each(
        self, of: Callable[[int], T], of_judged_again: Callable[[int, Sequence[Judgement]], T]
    ) -> AsyncGenerator[tuple[int, T], None]:
        try:
            async with aclosing(self._finished(self._open)) as finished:
                if self._second_opinion is None:
                    turns = Turns()
                    async for i in finished:
                        yield i, of(i)
                        await turns.rest()
                    return
                # Which verdicts are the most uncertain is known when all are there, so nothing is yielded before.
                async for _ in finished:
                    pass
            turns = Turns()
            for i, judgements in enumerate(await self._judge_again(self._second_opinion)):
                yield i, of_judged_again(i, judgements)
                await turns.rest()
        finally:
            self.close()

    def close(self) -> None:
        """Nothing waits for the results any more; what only this request wanted is not judged."""
        self._open.release()

    async def _start_ratings(self) -> None:
        """One query a candidate. In `likert` the judge sees no rubric, so that the cache's key must not hold it."""
        whole = self._options.mode == "implicit"
        queries = [Query(one if whole else replace(one, criteria=()), None) for one in self._candidates]
        pending = await self._evaluator.evaluate(self._judging_mode, queries, self._options, self.usage)
        self._open.places = {(i, 0): i for i in range(len(pending))}
        self._open.pending = pending

    async def _start_extractions(self, places: Sequence[Place]) -> None:
        self._open.extractions = await start_extractions(
            self._judging_mode,
            self._candidates,
            places,
            self._options,
            self.usage,
            evaluator=self._evaluator,
            rules=self._rules,
        )

    async def _evaluate(self, results: OpenResults, judging_mode: JudgingMode, places: Sequence[Place]) -> None:
        """As many queries for each place as there are votes, and the priors that the judge's calibration weighs."""
        votes = votes_of(self._options)
        turns = Turns()
        queries: list[Query] = []
        calibrated = self._options.consistency == 1  # no calibration was made for P(met) of two askings
        priors = PriorQueries.of(judging_mode.judge.calibration if calibrated else None, queries)
        for i, of_one in groupby(places, itemgetter(0)):
            candidate, own = self._candidates[i], [j for _, j in of_one]
            for j in own:
                results.places[i, j] = len(queries)
                for vote in votes:
                    queries.append(Query(candidate, candidate.criteria[j], vote))
            if priors is not None:  # after the candidate's own, with which they may share a prefix
                plain = (j for j in own if candidate.criteria[j].plain)
                results.priors.update(((i, j), priors.index(candidate, candidate.criteria[j])) for j in plain)
            await turns.rest()
        results.votes = len(votes)
        results.pending = await self._evaluator.evaluate(judging_mode, queries, self._options, self.usage)
        opposite = self._opposite_of(judging_mode)
        if opposite is not None:
            # The prompts share everything before their question, and are computed together where a batch has both.
            # A graded criterion has no opposite: it is asked once.
            twice = [query for query in queries if query.criterion is None or query.criterion.plain]
            again = iter(await self._evaluator.evaluate(opposite, twice, self._options, self.usage))
            results.pending = [
                BothAskings(one, next(again)) if query.criterion is None or query.criterion.plain else one
                for query, one in zip(queries, results.pending, strict=True)
            ]

    async def _evaluate_batches(self, judging_mode: JudgingMode, places: Sequence[Place]) -> None:
        results = self._open
        results.votes = len(votes_of(self._options))
        queries, results.places, results.in_batch = batch_queries(self._candidates, places, votes_of(self._options))
        results.pending = await self._evaluator.evaluate(judging_mode, queries, self._options, self.usage)

    def _opposite_of(self, judging_mode: JudgingMode) -> JudgingMode | None:
        """The mode of a second asking, where there is one."""
        both = asks_twice(judging_mode, self._options.consistency)
        return judging_mode.opposite if both and isinstance(judging_mode, VerdictMode) else None

    def _finished(self, results: OpenResults) -> AsyncGenerator[int, None]:
        return results.finished(len(self._candidates), self._clock, self._options.deadline_s)

    def _result(self, i: int) -> Scored:
        if self._rates:
            [pending] = self._open.of((i, 0))
            return rated(self._candidates[i], pending, self._options.norm, self._judging_mode.judge.mass_floor)
        return self._score(i, self._judgements(i))

    def _judgements(self, i: int) -> list[Judgement]:
        judge, criteria = self._judging_mode.judge, range(len(self._candidates[i].criteria))
        return [self._judgement(self._open, judge, (i, j)) for j in criteria]

    def _judgement(self, results: OpenResults, judge: JudgeIdentity, place: Place) -> Judgement:
        if (check := results.checks.get(place)) is not None:
            return judged_by_rule(check)
        if (extracted := results.extractions.judgement(place)) is not None:
            return extracted
        i, j = place
        criterion = self._candidates[i].criteria[j]
        votes, threshold = results.of(place), self._options.threshold
        if criterion.graded:
            return judge_levels(votes, criterion.options, threshold, judge.mass_floor, judge.level_calibration)
        curve = prior = None
        if judge.calibration is not None and self._options.consistency == 1:  # none was made for P(met) of two askings
            curve = judge.calibration.curve_of(criterion)
            prior = results.prior_of(place)
        return judge_votes(votes, threshold, judge.mass_floor, curve, prior)

    def _score(self, i: int, judgements: Sequence[Judgement]) -> Scored:
        return score_of(self._candidates[i], judgements, self._options, self._error_rates)

    async def _judge_again(self, second: SecondOpinion) -> list[list[Judgement]]:
        """All judgements. The most uncertain verdicts are replaced by written ones, where there is one."""
        turns = Turns()
        judgements: list[list[Judgement]] = []
        for i in range(len(self._candidates)):
            judgements.append(self._judgements(i))
            await turns.rest()
        places = [
            (i, j)
            for i, candidate in enumerate(self._candidates)
            for j, criterion in enumerate(candidate.criteria)
            if second.can_be_asked(criterion)
        ]
        chosen = second.escalation.choose([judgements[i][j] for i, j in places])
        again = [places[n] for n in sorted(chosen)]
        results = OpenResults()
        try:
            await self._evaluate(results, second.judging_mode, again)
            async with aclosing(self._finished(results)) as finished:
                async for _ in finished:
                    pass
            for i, j in again:
                written = self._judgement(results, second.judging_mode.judge, (i, j))
                if written.ok:
                    judgements[i][j] = written
        except RequestError:  # no capacity for a second opinion: the first ones stand
            return judgements
        finally:
            results.release()
        return judgements
