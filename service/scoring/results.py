"""Turns the pending results of a request's queries into judgements, scores and the spreads of its GRPO groups. Pure.

Guarantees: a pending query has a result, a reason why there is none, or neither yet; there is no default. A criterion
without a verdict has a status that says why, and is counted in a group's spreads where every member has one.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from service.cache.single_flight import Flight
from service.errors import JudgementError, RequestError, SharedRequestRejected, TimedOut
from service.modes.calibration import Line, Steps
from service.modes.label_verdict import read_both
from service.modes.level_calibration import LevelCalibration
from service.modes.modes import ModeResult
from service.modes.rating import Norm, Rating
from service.rubrics.aggregation import Score
from service.rubrics.judgement import (
    BatchVerdict,
    Judgement,
    Source,
    Verdict,
    abstains,
    abstention,
    combine_votes,
    decide,
    failed,
)
from service.rubrics.levels import LevelVerdict, combine_level_votes, decide_level
from service.rubrics.rubric import Candidate, Criterion, Option

Spread = Literal["varied", "zero", "unjudged"]
CriterionSpread = Literal["all_met", "none_met", "mixed"]


@dataclass(frozen=True, slots=True)
class Pending:
    """The result of one query: known from memory, in flight, or refused before. Call `release` once when nothing waits
    for it."""

    known: ModeResult | None
    flight: Flight[ModeResult] | None
    refused: JudgementError | None = None

    @property
    def source(self) -> Source:
        # A flight that failed counts as the judge's: a judgement without a verdict is from no cache.
        return "cache" if self.known is not None or (self.flight is not None and self.flight.cached) else "judge"

    def result(self) -> ModeResult:
        """Raises JudgementError where there is none: TimedOut where the flight goes on, SharedRequestRejected where the
        request that began it was refused."""
        if self.known is not None:
            return self.known
        if self.refused is not None:
            raise self.refused
        if self.flight is None or not self.flight.future.done():
            raise TimedOut("the deadline passed before the judge answered")
        try:
            return self.flight.future.result()
        except RequestError as error:
            reason = f"another request for the same judgement was refused: {error}; send this one again"
            raise SharedRequestRejected(reason) from None

    @property
    def flights(self) -> tuple[Flight[ModeResult], ...]:
        return () if self.flight is None else (self.flight,)

    def release(self) -> None:
        if self.flight is not None:
            self.flight.release()


@dataclass(frozen=True, slots=True)
class BothAskings:
    """The result of a query that was asked twice: whether the criterion is true, and whether it is false."""

    plain: Pending
    opposite: Pending

    @property
    def source(self) -> Source:
        return "cache" if self.plain.source == self.opposite.source == "cache" else "judge"

    @property
    def flights(self) -> tuple[Flight[ModeResult], ...]:
        return (*self.plain.flights, *self.opposite.flights)

    def result(self) -> ModeResult:
        """Raises as `Pending.result` where one of the two has none."""
        plain, opposite = self.plain.result(), self.opposite.result()
        if not (isinstance(plain, Verdict) and isinstance(opposite, Verdict)):
            raise TypeError("two ratings are no verdict")
        return read_both(plain, opposite)

    def release(self) -> None:
        self.plain.release()
        self.opposite.release()


@dataclass(frozen=True, slots=True)
class PartOf:
    """What the result of a batch says about the criterion at this place in it."""

    whole: Pending
    place: int

    @property
    def source(self) -> Source:
        return self.whole.source

    @property
    def flights(self) -> tuple[Flight[ModeResult], ...]:
        return self.whole.flights

    def result(self) -> Verdict:
        """Raises as `Pending.result` where the batch has none, and JudgementError where this criterion has none."""
        batch = self.whole.result()
        if not isinstance(batch, BatchVerdict):
            raise TypeError("a batch was answered with something else than its verdicts")
        return batch.of(self.place)


Waiting = Pending | BothAskings | PartOf
"""What a judgement waits for."""


@dataclass(frozen=True, slots=True)
class Scored:
    """`judgements[i]` is of `criteria[i]`: the candidate's own, or `WHOLE` alone in the rating modes, where `rating` is
    the rating if there is one."""

    candidate: Candidate
    criteria: tuple[Criterion, ...]
    judgements: tuple[Judgement, ...]
    score: Score
    rating: Rating | None = None


WHOLE = Criterion(id="rating", text="", points=1.0)


def judge_votes(
    votes: Sequence[Waiting],
    threshold: float,
    mass_floor: float,
    curve: Line | Steps | None = None,
    prior: Waiting | None = None,
) -> Judgement:
    """One criterion's judgement from its votes, of which there is one where chance plays no part. `curve` calibrates
    one verdict, with the `prior` that it weighs; several votes are sampled, which no curve was made for."""
    if len(votes) > 1:
        return combine_votes([_judge(vote, threshold, mass_floor) for vote in votes], threshold=threshold)
    return _judge(votes[0], threshold, mass_floor, curve, prior)


def judge_levels(
    votes: Sequence[Waiting],
    options: Sequence[Option],
    threshold: float,
    mass_floor: float,
    calibration: LevelCalibration | None = None,
) -> Judgement:
    """A graded criterion's judgement from its votes; one vote is calibrated, as of plain criteria."""
    if len(votes) == 1:
        return _judge_level(votes[0], options, threshold, mass_floor, calibration)
    judged = [_judge_level(vote, options, threshold, mass_floor) for vote in votes]
    return combine_level_votes(judged, options, threshold=threshold)


def _judge_level(
    vote: Waiting,
    options: Sequence[Option],
    threshold: float,
    mass_floor: float,
    calibration: LevelCalibration | None = None,
) -> Judgement:
    try:
        verdict = vote.result()
    except JudgementError as error:
        return failed(error.with_traceback(None), vote.source)
    if not isinstance(verdict, LevelVerdict) or len(verdict.p_levels) != len(options):
        raise TypeError("a graded criterion was answered with something else than its options")
    calibrated = None if calibration is None else calibration(verdict.p_levels)
    return decide_level(
        verdict, options, threshold=threshold, mass_floor=mass_floor, source=vote.source, calibrated=calibrated
    )


def _judge(
    vote: Waiting,
    threshold: float,
    mass_floor: float,
    curve: Line | Steps | None = None,
    prior: Waiting | None = None,
) -> Judgement:
    source = vote.source
    try:
        verdict = vote.result()
    except JudgementError as error:
        return failed(error.with_traceback(None), source)  # the frames would hold the request for a while
    assert isinstance(verdict, Verdict)
    if curve is None or abstains(verdict.label_mass, mass_floor):
        return decide(verdict, threshold=threshold, mass_floor=mass_floor, source=source)
    try:
        bias = None if prior is None else prior.result()
    except JudgementError as error:  # P(met) without its prior is of another scale, and no substitute
        return failed(error.with_traceback(None), source)
    assert bias is None or isinstance(bias, Verdict)  # it was asked as a plain criterion
    if bias is not None and abstains(bias.label_mass, mass_floor):
        return abstention(bias.label_mass, mass_floor, source, p_raw=verdict.p_met)
    p = curve(verdict.p_met, None if bias is None else bias.p_met)
    return decide(verdict, threshold=threshold, mass_floor=mass_floor, source=source, p=p)


def judged_by_rule(check: asyncio.Future[bool]) -> Judgement:
    if not check.done():
        return failed(TimedOut("the deadline passed before the rule had run"), "rule")
    try:
        met = check.result()
    except JudgementError as error:
        return failed(error, "rule")
    return Judgement(status="ok", source="rule", met=met, p=float(met))


def rated(candidate: Candidate, pending: Waiting, norm: Norm, mass_floor: float) -> Scored:
    """The score of a candidate in the rating modes, from its one rating."""
    lowest = 0.0 if norm == "(r-1)/9" else 0.1
    unrated = Score(value=None, bounds=(lowest, 1.0), coverage=0.0, status="failed")
    try:
        rating = pending.result()
    except JudgementError as error:
        return Scored(candidate, (WHOLE,), (failed(error, pending.source),), unrated)
    if not isinstance(rating, Rating):
        raise TypeError("a rating mode gave a verdict")
    if abstains(rating.label_mass, mass_floor):
        return Scored(candidate, (WHOLE,), (abstention(rating.label_mass, mass_floor, pending.source),), unrated)
    value = rating.normalised(norm)
    judgement = Judgement(status="ok", source=pending.source, label_mass=rating.label_mass)
    return Scored(candidate, (WHOLE,), (judgement,), Score(value, (value, value), 1.0, "ok"), rating)


def by_group(scored: Iterable[Scored]) -> dict[str, list[Scored]]:
    """Members of each GRPO group that was named, also where there is only one."""
    members: dict[str, list[Scored]] = {}
    for one in scored:
        if one.candidate.group is not None:
            members.setdefault(one.candidate.group, []).append(one)
    return members


def spread(group: Sequence[Scored]) -> Spread:
    """Returns whether the scores differ: without that a group teaches nothing. `unjudged`: fewer than two have one."""
    values = [one.score.value for one in group if one.score.value is not None]
    if len(values) < 2:
        return "unjudged"
    return "zero" if len(set(values)) == 1 else "varied"


def criteria_spreads(group: Sequence[Scored]) -> Iterator[CriterionSpread]:
    """One for each criterion that all members share and that was judged for each."""
    first = group[0]
    if any(one.candidate.criteria != first.candidate.criteria for one in group):
        return
    for judged in zip(*(one.judgements for one in group), strict=True):
        met = [judgement.met for judgement in judged]
        if None not in met:
            yield "all_met" if all(met) else "mixed" if any(met) else "none_met"
