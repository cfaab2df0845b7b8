"""Questions in, answers when they come: from the cache, from whoever is asking the same already, or from the judge.

Always true: a question that is known or being asked is not asked again; between the look into the cache and the joining
nothing can change; a failure is shared with those waiting and then forgotten; only what the judge said, and meant, is
kept.
"""

import asyncio
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from service.cache.key import context_digest, verdict_key
from service.cache.single_flight import Flight, SingleFlight
from service.cache.store import MemoryStore
from service.engine.base import Generation
from service.errors import Cancelled, EngineFailed, JudgementError, RubricdError, TimedOut
from service.scheduling import Answer, Scheduler, Ticket
from service.scoring.rubric import Candidate
from service.scoring.verdict import Source, abstains
from service.scoring.ways import Question, Said, Step, Way, prompts


@dataclass(slots=True)
class Usage:
    """Counted while a request is served. Tokens are those of the judgements this request caused."""

    judgements: int = 0
    cache_hits: int = 0
    deduplicated: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What holds for all questions of one request: `scope` is who may share the answers, `deadline_s` a point on the
    clock."""

    scope: str = ""
    deadline_s: float | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """One question's answer: known, or in flight. `leave` once when it is not waited for any more."""

    known: Said | None
    flight: Flight[Said] | None

    @property
    def source(self) -> Source:
        return "judge" if self.known is None else "cache"

    def result(self) -> Said:
        """Raises JudgementError where there is none, TimedOut where there is none yet."""
        if self.known is not None:
            return self.known
        if self.flight is None or not self.flight.future.done():
            raise TimedOut("the deadline passed before the judge answered")
        return self.flight.future.result()

    def leave(self) -> None:
        if self.flight is not None:
            self.flight.leave()


@dataclass(frozen=True, slots=True)
class _New:
    """A question that this request was the first to ask."""

    way: Way
    question: Question
    key: bytes
    flight: Flight[Said]
    usage: Usage


class Asker:
    def __init__(self, scheduler: Scheduler, store: MemoryStore[Said]) -> None:
        self._scheduler = scheduler
        self._store = store
        self._flights: SingleFlight[Said] = SingleFlight()
        self._asking: set[asyncio.Task[None]] = set()
        self._secret = os.urandom(16)

    def open(self, way: Way, questions: Sequence[Question], waiting: Waiting, usage: Usage) -> list[Pending]:
        """A pending answer a question, in order; what is new is on its way to the judge. Synchronous."""
        keys = _keys(way, questions, waiting.scope)
        known = self._store.get_many(keys)
        pending: list[Pending] = []
        new: list[_New] = []
        for question, key in zip(questions, keys, strict=True):
            if (said := known.get(key)) is not None:
                pending.append(Pending(said, None))
                continue
            flight, is_new = self._flights.join(key, waiting.deadline_s)
            pending.append(Pending(None, flight))
            if is_new:
                new.append(_New(way, question, key, flight, usage))
        usage.cache_hits += sum(one.known is not None for one in pending)
        usage.judgements += len(new)
        usage.deduplicated += sum(one.flight is not None for one in pending) - len(new)
        if new:
            task = asyncio.create_task(self._ask(new, waiting), name="ask")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        return pending

    async def _ask(self, new: list[_New], waiting: Waiting) -> None:
        """Render and queue what is new. A task of its own: flights must not die with the request that began them."""
        way, salt = new[0].way, self._salt(waiting.scope)
        try:
            questions = [one.question for one in new]
            rendered = await asyncio.to_thread(prompts, way, questions, salt, waiting.priority)
            steps = [
                (one, way.first(prompt, one.question))
                for one, prompt in zip(new, rendered, strict=True)
                if not one.flight.future.done()
            ]
            tickets = self._scheduler.submit(
                [step.ask for _, step in steps], [one.flight.deadline_s for one, _ in steps]
            )
        except Exception as error:
            for one in new:
                one.flight.fail(error)
            if not isinstance(error, RubricdError):
                raise
            return
        for (one, step), ticket in zip(steps, tickets, strict=True):
            self._follow(one, step, ticket)

    def _follow(self, one: _New, step: Step, ticket: Ticket) -> None:
        one.flight.work = ticket
        ticket.future.add_done_callback(partial(self._answered, one, step))

    def _answered(self, one: _New, step: Step, future: asyncio.Future[Answer]) -> None:
        """A ticket was answered: take the next step, or keep what was said; a failure is shared."""
        if future.cancelled():
            one.flight.fail(Cancelled("the judgement was cancelled"))
            return
        try:
            answer = future.result()
            _count(one.usage, step, answer)
            next_step = one.way.then(step, answer)
            if isinstance(next_step, Step):
                [ticket] = self._scheduler.submit([next_step.ask], [one.flight.deadline_s], begun=True)
                self._follow(one, next_step, ticket)
                return
        except JudgementError as error:
            one.flight.fail(error)
            return
        except Exception as error:
            one.flight.fail(EngineFailed(f"the answer could not be read: {type(error).__name__}"))
            raise
        if not abstains(next_step.label_mass, one.way.judge.mass_floor):
            self._store.put_many({one.key: next_step})
        one.flight.succeed(next_step)

    def _salt(self, scope: str) -> str:
        """What keeps scopes apart in an engine's prefix cache; not to be guessed by a caller."""
        return hmac.new(self._secret, scope.encode(), hashlib.sha256).hexdigest() if scope else ""


def _count(usage: Usage, step: Step, answer: Answer) -> None:
    usage.prompt_tokens += len(step.ask.prompt)
    usage.cached_tokens += answer.cached_tokens
    usage.completion_tokens += answer.tokens if isinstance(answer, Generation) else 0


def _keys(way: Way, questions: Sequence[Question], scope: str) -> list[bytes]:
    contexts: dict[int, bytes] = {}
    keys = []
    for question in questions:
        candidate = question.candidate
        if id(candidate) not in contexts:
            contexts[id(candidate)] = _context(way, candidate, scope)
        keys.append(verdict_key(contexts[id(candidate)], *question.asked, vote=question.vote))
    return keys


def _context(way: Way, candidate: Candidate, scope: str) -> bytes:
    return context_digest(
        scope=scope,
        fingerprint=way.judge.fingerprint,
        turns=[(turn.role, turn.content) for turn in candidate.turns],
        reference=candidate.reference,
        response=candidate.response,
    )
