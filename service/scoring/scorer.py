"""The one orchestrator: candidates in, judgements and scores out.

Always true: each criterion of each candidate ends as one judgement, by a rule, the cache or the judge, or with the
reason why there is none; what cannot be aggregated is refused before anything is judged.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from service.clock import Clock, wait_all
from service.errors import InvalidRequest, JudgementError, TimedOut
from service.scheduling import Scheduler
from service.scoring import aggregate
from service.scoring.aggregate import Score
from service.scoring.asking import Asker, Pending, Usage, Waiting
from service.scoring.escalation import OFF, Escalation
from service.scoring.rating import Norm, Rating
from service.scoring.rubric import Candidate, Criterion
from service.scoring.rules import RulePool
from service.scoring.verdict import Judgement, Verdict, abstains, abstention, decide, failed, poll
from service.scoring.ways import Question, Way

DEFAULT = ("verdict", "rubricd")


@dataclass(frozen=True, slots=True)
class Options:
    """What a request chose. `deadline_s` is a point on the clock; `scope` is who may share the verdicts."""

    mode: str = "verdict"
    layout: str = "rubricd"
    votes: int = 1
    aggregation: str = "healthbench"
    soft: bool = False
    threshold: float = 0.5
    min_coverage: float = 1.0
    norm: Norm = "(r-1)/9"
    deadline_s: float | None = None
    scope: str = ""
    priority: int = 0

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.scope, self.deadline_s, self.priority)


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

Place = tuple[int, int]


@dataclass(slots=True)
class _Round:
    """What one request waits for, by candidate and criterion index."""

    asked: dict[Place, list[Pending]] = field(default_factory=dict)
    checks: dict[Place, asyncio.Task[bool]] = field(default_factory=dict)

    @property
    def futures(self) -> list[asyncio.Future[object]]:
        flights = [one.flight.future for votes in self.asked.values() for one in votes if one.flight is not None]
        return [*flights, *self.checks.values()]  # type: ignore[list-item]

    def close(self) -> None:
        for votes in self.asked.values():
            for one in votes:
                one.leave()
        for check in self.checks.values():
            check.add_done_callback(_retrieve)
            check.cancel()


class Scorer:
    """`ways` by mode and layout; ("verdict", "rubricd") is always there."""

    def __init__(
        self,
        *,
        ways: Mapping[tuple[str, str], Way],
        asker: Asker,
        scheduler: Scheduler,
        rules: RulePool,
        clock: Clock,
        escalation: Escalation = OFF,
    ) -> None:
        self.ways = ways
        self._asker = asker
        self._scheduler = scheduler
        self._rules = rules
        self._clock = clock
        self._escalation = escalation

    @property
    def why_not(self) -> str | None:
        """Why nothing can be judged now; None when it can."""
        return self._scheduler.why_not

    async def drain(self, grace_s: float) -> None:
        """Refuse new work, finish what was accepted; what is left after `grace_s` ends as cancelled."""
        await self._scheduler.drain(grace_s)

    def way(self, mode: str, layout: str) -> Way:
        """Raises InvalidRequest where this judge cannot be asked so."""
        try:
            return self.ways[mode, layout]
        except KeyError:
            layouts = [served for asked, served in self.ways if asked == mode]
            place, named = ("layout", f"layout `{layout}`") if layouts else ("mode", f"mode `{mode}`")
            with_layouts = f" in mode `{mode}`; it serves {', '.join(layouts)}" if layouts else ""
            message = f"this judge cannot be asked with {named}{with_layouts}"
            raise InvalidRequest(message, (((place,), message),)) from None

    async def score(self, candidates: Sequence[Candidate], options: Options) -> tuple[list[Scored], Usage]:
        """One Scored a candidate, same order. Raises InvalidRequest for what cannot be scored as asked, Overloaded or
        Unavailable when the judge cannot take the work."""
        way = self.way(options.mode, options.layout)
        _check(candidates, options, way)
        self._scheduler.check_room()
        self._rules.check_room(c.rule for one in candidates for c in one.criteria if c.rule is not None)
        usage = Usage()
        if options.mode in ("implicit", "likert"):
            return await self._rate(way, candidates, options, usage), usage
        judged = await self._judge(way, candidates, options, usage)
        await self._ask_again(candidates, judged, options, usage)
        return [_scored(*row, options) for row in zip(candidates, judged, strict=True)], usage

    async def _judge(
        self, way: Way, candidates: Sequence[Candidate], options: Options, usage: Usage
    ) -> list[list[Judgement]]:
        """One judgement a criterion."""
        round = _Round()
        try:
            places = [(i, j) for i, candidate in enumerate(candidates) for j in range(len(candidate.criteria))]
            for i, j in places:
                if (rule := candidates[i].criteria[j].rule) is not None:
                    round.checks[i, j] = asyncio.ensure_future(self._rules.check(rule, candidates[i].response))
            self._ask(round, way, candidates, [place for place in places if place not in round.checks], options, usage)
            await wait_all(self._clock, round.futures, options.deadline_s)
            return [
                [self._judgement(way, round, (i, j), options) for j in range(len(candidate.criteria))]
                for i, candidate in enumerate(candidates)
            ]
        finally:
            round.close()

    def _ask(
        self,
        round: _Round,
        way: Way,
        candidates: Sequence[Candidate],
        places: Sequence[Place],
        options: Options,
        usage: Usage,
    ) -> None:
        votes = [0] if options.votes == 1 else range(1, options.votes + 1)
        questions = [Question(candidates[i], candidates[i].criteria[j], vote) for i, j in places for vote in votes]
        pending = self._asker.open(way, questions, options.waiting, usage)
        for n, place in enumerate(places):
            round.asked[place] = pending[n * len(votes) : (n + 1) * len(votes)]

    def _judgement(self, way: Way, round: _Round, place: Place, options: Options) -> Judgement:
        if place in round.checks:
            return _by_rule(round.checks[place])
        return _by_judge(round.asked[place], options.threshold, way.judge.mass_floor)

    async def _ask_again(
        self, candidates: Sequence[Candidate], judged: list[list[Judgement]], options: Options, usage: Usage
    ) -> None:
        """Replace the most uncertain verdicts by written ones, where those come about."""
        again = self.ways.get(("reasoned", options.layout))
        if options.mode != "verdict" or again is None:
            return
        places = [(i, j) for i, row in enumerate(judged) for j in range(len(row))]
        chosen = sorted(self._escalation.choose([judged[i][j] for i, j in places]))
        if not chosen:
            return
        round = _Round()
        try:
            self._ask(round, again, candidates, [places[n] for n in chosen], options, usage)
            await wait_all(self._clock, round.futures, options.deadline_s)
            for i, j in round.asked:
                second = self._judgement(again, round, (i, j), options)
                judged[i][j] = second if second.ok else judged[i][j]
        finally:
            round.close()

    async def _rate(self, way: Way, candidates: Sequence[Candidate], options: Options, usage: Usage) -> list[Scored]:
        """One rating a candidate, of the whole rubric or, in mode `likert`, of none."""
        whole = candidates if options.mode == "implicit" else [replace(one, criteria=()) for one in candidates]
        questions = [Question(candidate, None) for candidate in whole]
        pending = self._asker.open(way, questions, options.waiting, usage)
        try:
            flights = [one.flight.future for one in pending if one.flight is not None]
            await wait_all(self._clock, flights, options.deadline_s)
            return [
                _rated(candidate, one, options.norm, way.judge.mass_floor)
                for candidate, one in zip(candidates, pending, strict=True)
            ]
        finally:
            for one in pending:
                one.leave()


def _check(candidates: Sequence[Candidate], options: Options, way: Way) -> None:
    """Raise InvalidRequest for what judging could not mend."""
    if not way.renderer.skeleton.referable and any(candidate.reference is not None for candidate in candidates):
        raise InvalidRequest(f"layout `{options.layout}` has no place for a `reference`; leave it out")
    if options.mode in ("implicit", "likert"):
        return
    for criteria in {id(candidate.criteria): candidate.criteria for candidate in candidates}.values():
        aggregate.check(options.aggregation, criteria)


def _scored(candidate: Candidate, judged: Sequence[Judgement], options: Options) -> Scored:
    score = aggregate.aggregate(
        options.aggregation, candidate.criteria, judged, soft=options.soft, min_coverage=options.min_coverage
    )
    return Scored(candidate, candidate.criteria, tuple(judged), score)


def _by_judge(votes: Sequence[Pending], threshold: float, mass_floor: float) -> Judgement:
    said: list[Verdict] = []
    missing: list[JudgementError] = []
    for vote in votes:
        try:
            verdict = vote.result()
        except JudgementError as error:
            missing.append(error)
        else:
            if isinstance(verdict, Verdict):
                said.append(verdict)
    source = votes[0].source
    if len(votes) > 1:
        return poll(said, missing, threshold=threshold, source=source)
    if missing:
        return failed(missing[0], source)
    return decide(said[0], threshold=threshold, mass_floor=mass_floor, source=source)


def _rated(candidate: Candidate, pending: Pending, norm: Norm, mass_floor: float) -> Scored:
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


def _retrieve(check: asyncio.Task[bool]) -> None:
    """Look at the outcome of a check that nobody waits for any more, so that asyncio does not report it."""
    if not check.cancelled():
        check.exception()


def _by_rule(check: asyncio.Task[bool]) -> Judgement:
    if not check.done():
        return failed(TimedOut("the deadline passed before the rule had run"), "rule")
    try:
        met = check.result()
    except JudgementError as error:
        return failed(error, "rule")
    return Judgement(status="ok", source="rule", met=met, p=float(met))
