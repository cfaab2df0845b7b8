"""The one orchestrator: candidates in, judgements and scores out.

Always true: each criterion of each candidate ends as one judgement, by a rule, the cache or the judge, or with the
reason why there is none. A question that is cached or already being judged is not asked again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from service.cache.key import context_digest, verdict_key
from service.cache.single_flight import Flight, SingleFlight
from service.cache.store import MemoryStore
from service.clock import Clock, wait_all
from service.engine.base import LabelRead, Prompt
from service.errors import Cancelled, JudgementError, RubricdError, TimedOut
from service.scheduling import Scheduler, Ticket
from service.scoring.aggregate import Score, aggregate
from service.scoring.judge import Judge
from service.scoring.prompt import Renderer
from service.scoring.rubric import Candidate, Criterion
from service.scoring.rules import RulePool
from service.scoring.verdict import Judgement, Verdict, decide, failed, read


@dataclass(frozen=True, slots=True)
class Options:
    """What a request chose. `deadline_s` is a point on the clock; `scope` is who may share the verdicts."""

    aggregation: str = "healthbench"
    soft: bool = False
    threshold: float = 0.5
    min_coverage: float = 1.0
    deadline_s: float | None = None
    scope: str = ""


@dataclass(slots=True)
class Usage:
    """Counted while a request is served. Tokens are those of the judgements this request caused."""

    judgements: int = 0
    cache_hits: int = 0
    deduplicated: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    candidate: Candidate
    judgements: tuple[Judgement, ...]
    score: Score


@dataclass(slots=True)
class _Question:
    """One criterion of one candidate for the judge, and where its answer comes from."""

    candidate: Candidate
    criterion: Criterion
    key: bytes
    known: Verdict | None = None
    flight: Flight[Verdict] | None = None


@dataclass(slots=True)
class _Round:
    """One request's questions, by candidate and criterion index."""

    questions: dict[tuple[int, int], _Question] = field(default_factory=dict)
    checks: dict[tuple[int, int], asyncio.Task[bool]] = field(default_factory=dict)


class Scorer:
    def __init__(
        self,
        *,
        judge: Judge,
        renderer: Renderer,
        scheduler: Scheduler,
        store: MemoryStore[Verdict],
        rules: RulePool,
        clock: Clock,
    ) -> None:
        self.judge = judge
        self._renderer = renderer
        self._scheduler = scheduler
        self._store = store
        self._rules = rules
        self._clock = clock
        self._flights: SingleFlight[Verdict] = SingleFlight()
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def accepting(self) -> bool:
        return self._scheduler.accepting

    async def drain(self, grace_s: float) -> None:
        """Refuse new work, finish what was accepted; what is left after `grace_s` ends as cancelled."""
        await self._scheduler.drain(grace_s)

    async def score(self, candidates: Sequence[Candidate], options: Options) -> tuple[list[Scored], Usage]:
        """One Scored a candidate, same order. Raises Overloaded or Unavailable when the judge cannot take the work."""
        self._scheduler.check_room()
        usage = Usage()
        round = _Round()
        try:
            self._open(round, candidates, options, usage)
            flights = [q.flight.future for q in round.questions.values() if q.flight is not None]
            await wait_all(self._clock, [*flights, *round.checks.values()], options.deadline_s)
            return [self._close(i, candidate, round, options) for i, candidate in enumerate(candidates)], usage
        finally:
            for question in round.questions.values():
                if question.flight is not None:
                    question.flight.leave()
            for check in round.checks.values():
                check.add_done_callback(_retrieve)
                check.cancel()

    def _open(self, round: _Round, candidates: Sequence[Candidate], options: Options, usage: Usage) -> None:
        """Start all work: rules, cache, joining what is in flight, asking the rest. Synchronous, so that between the
        look into the cache and the joining nothing can change."""
        for i, candidate in enumerate(candidates):
            context = self._context(candidate, options.scope)
            for j, criterion in enumerate(candidate.criteria):
                if criterion.rule is not None:
                    check = self._rules.check(criterion.rule, candidate.response)
                    round.checks[i, j] = asyncio.ensure_future(check)
                else:
                    key = verdict_key(context, criterion.text)
                    round.questions[i, j] = _Question(candidate, criterion, key)
        known = self._store.get_many([question.key for question in round.questions.values()])
        new: list[_Question] = []
        for question in round.questions.values():
            question.known = known.get(question.key)
            if question.known is None:
                question.flight, is_new = self._flights.join(question.key, options.deadline_s)
                usage.deduplicated += not is_new
                if is_new:
                    new.append(question)
        usage.cache_hits = sum(question.known is not None for question in round.questions.values())
        usage.judgements = len(new)
        if new:
            task = asyncio.create_task(self._ask(new, usage), name="ask")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def _context(self, candidate: Candidate, scope: str) -> bytes:
        return context_digest(
            scope=scope,
            fingerprint=self.judge.fingerprint,
            turns=[(turn.role, turn.content) for turn in candidate.turns],
            reference=candidate.reference,
            response=candidate.response,
        )

    async def _ask(self, new: list[_Question], usage: Usage) -> None:
        """Render and queue what is new. A task of its own: flights must not die with the request that began them."""
        try:
            prompts = await asyncio.to_thread(self._render, new)
            waited_for = [
                (question.key, question.flight, prompt)
                for question, prompt in zip(new, prompts, strict=True)
                if question.flight is not None and not question.flight.future.done()
            ]
            tickets = self._scheduler.submit(
                [prompt for _, _, prompt in waited_for], [flight.deadline_s for _, flight, _ in waited_for]
            )
        except Exception as error:
            for question in new:
                if question.flight is not None:
                    question.flight.fail(error)
            if not isinstance(error, RubricdError):
                raise
            return
        for (key, flight, _), ticket in zip(waited_for, tickets, strict=True):
            flight.work = ticket
            ticket.future.add_done_callback(partial(self._settle, key, flight, ticket, usage))

    def _render(self, new: list[_Question]) -> list[Prompt]:
        """Prompts in the order of `new`, whose questions stand together by candidate."""
        work = [
            (candidate, [question.criterion for question in questions])
            for candidate, questions in groupby(new, key=lambda question: question.candidate)
        ]
        return [prompt for prompts in self._renderer.render(work) for prompt in prompts]

    def _settle(
        self, key: bytes, flight: Flight[Verdict], ticket: Ticket, usage: Usage, future: asyncio.Future[LabelRead]
    ) -> None:
        """A ticket was answered: keep a verdict, share a failure."""
        if future.cancelled():
            flight.fail(Cancelled("the judgement was cancelled"))
            return
        try:
            outcome = future.result()
            verdict = read(outcome)
        except JudgementError as error:
            flight.fail(error)
            return
        usage.prompt_tokens += len(ticket.prompt)
        usage.cached_tokens += outcome.cached_tokens
        if verdict.label_mass >= self.judge.mass_floor:
            self._store.put_many({key: verdict})
        flight.succeed(verdict)

    def _close(self, i: int, candidate: Candidate, round: _Round, options: Options) -> Scored:
        judgements = tuple(
            _by_rule(round.checks[i, j])
            if (i, j) in round.checks
            else self._by_judge(round.questions[i, j], options.threshold)
            for j in range(len(candidate.criteria))
        )
        score = aggregate(
            options.aggregation,
            candidate.criteria,
            judgements,
            soft=options.soft,
            min_coverage=options.min_coverage,
        )
        return Scored(candidate, judgements, score)

    def _by_judge(self, question: _Question, threshold: float) -> Judgement:
        floor = self.judge.mass_floor
        if question.known is not None:
            return decide(question.known, threshold=threshold, mass_floor=floor, source="cache")
        if question.flight is None or not question.flight.future.done():
            return failed(TimedOut("the deadline passed before the judge answered"), "judge")
        try:
            verdict = question.flight.future.result()
        except JudgementError as error:
            return failed(error, "judge")
        return decide(verdict, threshold=threshold, mass_floor=floor, source="judge")


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
