"""Questions in, answers when they come: from the cache, from whoever is asking the same already, here or in another
process, or from the judge.

Always true: a question that is known or being asked is not asked again; between the look into memory and the joining
nothing can change; a failure is shared with those waiting and then forgotten; only what the judge said, and meant, is
kept; what was set aside for a request's questions is settled once, when the last of them has ended.
"""

import asyncio
import hashlib
import hmac
import logging
import os
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from service.cache.memory import MemoryCache
from service.cache.shared import SharedCache
from service.cache.single_flight import Flight, SingleFlight
from service.clock import Clock, wait_all
from service.engine.base import EngineResult, Generation
from service.errors import Cancelled, EngineFailed, JudgementError, RubricdError
from service.modes.modes import JudgingMode, ModeResult, Question, Step, prompts
from service.rubrics.judgement import abstains
from service.scheduling import Scheduler, Ticket, costs
from service.scoring.fair_semaphore import Turns
from service.scoring.keys import keys_of
from service.scoring.pending import Bill, Pending, Reservation, Usage, Waiting
from service.scoring.token_estimate import Lengths

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _New:
    """A question that this request was the first to ask in this process."""

    judging_mode: JudgingMode
    question: Question
    group: Hashable
    key: bytes
    flight: Flight[ModeResult]
    waiting: Waiting
    usage: Usage

    @property
    def over(self) -> bool:
        return self.flight.future.done()


@dataclass(frozen=True, slots=True)
class _Watched:
    """The work of a flight that another process sees to. How long one waits for it is its own affair."""

    unwatch: Callable[[], None]

    def cancel(self) -> None:
        self.unwatch()

    def extend_deadline(self, deadline_s: float | None) -> None:
        pass


class Evaluator:
    """Without `shared` this process is alone."""

    def __init__(
        self, scheduler: Scheduler, store: MemoryCache[ModeResult], shared: SharedCache[ModeResult] | None = None
    ) -> None:
        self._scheduler = scheduler
        self._store = store
        self._shared = shared
        self._flights: SingleFlight[ModeResult] = SingleFlight()
        self._asking: set[asyncio.Task[None]] = set()
        self._lengths = Lengths()
        self._turns = Turns(max(2, (os.cpu_count() or 1) // 2))
        self._secret = os.urandom(16)

    async def open(
        self, judging_mode: JudgingMode, questions: Sequence[Question], waiting: Waiting, usage: Usage
    ) -> list[Pending]:
        """A pending answer a question, in order, once all that is new has been let in. Raises RequestError where it is
        not; then nothing of it is asked."""
        pending, new = self._join(judging_mode, questions, waiting, usage)
        if new:
            try:
                await asyncio.shield(self._start(self._begin(new)))
            except BaseException:
                for one in pending:
                    one.release()
                raise
        return pending

    def _join(
        self, judging_mode: JudgingMode, questions: Sequence[Question], waiting: Waiting, usage: Usage
    ) -> tuple[list[Pending], list[_New]]:
        keys, groups = keys_of(judging_mode, questions, waiting.scope)
        known = self._store.get_many(keys)
        if self._shared is None:  # else who knows what another process knows
            asked = zip(questions, keys, strict=True)
            self._check_capacity([one for one, key in asked if key not in known and key not in self._flights], waiting)
        pending: list[Pending] = []
        new: list[_New] = []
        for question, key, group in zip(questions, keys, groups, strict=True):
            if (said := known.get(key)) is not None:
                pending.append(Pending(said, None))
                usage.cache_hits += 1
                continue
            flight, is_new = self._flights.join(key, waiting.deadline_s)
            pending.append(Pending(None, flight))
            if is_new:
                new.append(_New(judging_mode, question, group, key, flight, waiting, usage))
            else:
                usage.deduplicated += 1
        return pending, new

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of its own: flights must not die with the request that began them."""
        task = asyncio.get_running_loop().create_task(work, name="ask")
        self._asking.add(task)
        task.add_done_callback(self._started)
        return task

    def _started(self, task: asyncio.Task[None]) -> None:
        """Whoever still waits has been told of an error; only a bug is news."""
        self._asking.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, RubricdError):
            log.error("questions could not be asked", exc_info=error)

    async def _begin(self, new: Sequence[_New]) -> None:
        """What other processes know or see to is theirs; the rest is judged."""
        mine = await self._elsewhere(new) if self._shared is not None else new
        if mine:
            await self._judge(mine)

    async def _elsewhere(self, new: Sequence[_New]) -> Sequence[_New]:
        """Look into the shared cache; returns what is left to judge here."""
        assert self._shared is not None
        by_key = {one.key: one for one in new}
        with new[0].waiting.trace.span("cache", queries=len(new)) as span:
            looked = await self._shared.look_up(list(by_key))
            span.set(hits=len(looked.known), elsewhere=len(looked.elsewhere))
        for key, said in looked.known.items():
            self._found(by_key[key], said)
        self._watch([by_key[key] for key in looked.elsewhere])
        return [one for one in new if one.key in looked.mine]

    def _found(self, one: _New, said: ModeResult) -> None:
        one.usage.cache_hits += 1
        one.usage.shared_hits += 1
        self._store.put_many({one.key: said})
        one.flight.succeed(said, cached=True)

    def _watch(self, watched: Sequence[_New]) -> None:
        """Another process judges these; where it does not, this one will."""
        if self._shared is None or not watched:
            return
        by_key = {one.key: one for one in watched if not one.over}
        for one in by_key.values():
            one.flight.work = _Watched(partial(self._shared.unwatch, one.key))

        def known(key: bytes, said: ModeResult) -> None:
            one = by_key[key]
            one.usage.deduplicated += 1
            one.usage.awaited += 1
            self._store.put_many({key: said})
            one.flight.succeed(said)

        def mine(keys: Sequence[bytes]) -> None:
            self._start(self._judge([by_key[key] for key in keys]))

        self._shared.watch(list(by_key), known, mine)

    async def _judge(self, mine: Sequence[_New]) -> None:
        """Render, reserve, queue. Raises what refuses, after telling those who wait."""
        reservation: Reservation | None = None
        try:
            waiting = mine[0].waiting
            with waiting.trace.span("render", queries=len(mine)):
                steps = await self._rendered(mine)
            tokens = sum(costs([step.ask for step in steps]))
            reservation = None if waiting.reserve is None else await waiting.reserve(tokens)
            going = [(one, step) for one, step in zip(mine, steps, strict=True) if not one.over]
            tickets = self._scheduler.submit(
                [step.ask for _, step in going],
                [one.flight.deadline_s for one, _ in going],
                tenant=waiting.tenant,
                groups=[one.group for one, _ in going],
            )
        except Exception as error:
            if reservation is not None:
                reservation.settle(0)
            self._failed(mine, error)
            raise
        self._give_up(one for one in mine if one.over)
        mine[0].usage.judgements += len(going)
        bill = Bill(reservation, len(going) + 1, waiting.trace.watch(len(going), tokens))
        for (one, step), ticket in zip(going, tickets, strict=True):
            one.flight.future.add_done_callback(partial(self._ended, one, bill))
            self._follow(one, step, ticket, bill)
        bill.end()

    async def _rendered(self, mine: Sequence[_New]) -> list[Step]:
        """Raises Overloaded before the work where it would surely be in vain."""
        judging_mode, waiting, questions = mine[0].judging_mode, mine[0].waiting, [one.question for one in mine]
        salt, guess = self._salt(waiting.scope), self._check_capacity(questions, waiting)
        with self._lengths.render(waiting.tenant, guess):
            async with self._turns.turn(waiting.tenant, guess):
                rendered = await asyncio.to_thread(prompts, judging_mode, questions, salt, waiting.priority)
        steps = [judging_mode.first(prompt, question) for prompt, question in zip(rendered, questions, strict=True)]
        self._lengths.learn(questions, sum(costs([step.ask for step in steps])))
        return steps

    def _check_capacity(self, questions: Sequence[Question], waiting: Waiting) -> int:
        """Guesses their tokens. Raises Overloaded where not even these have room."""
        guess = self._lengths.guess(questions) if questions else 0
        if guess:
            tokens = guess + self._lengths.rendering(waiting.tenant)
            self._scheduler.check_capacity(waiting.tenant, tokens, waiting.deadline_s)
        return guess

    def _failed(self, mine: Sequence[_New], error: Exception) -> None:
        for one in mine:
            one.flight.fail(error)
        self._give_up(mine)

    def _give_up(self, mine: Iterable[_New]) -> None:
        if self._shared is not None:
            for one in mine:
                self._shared.release(one.key)

    def _follow(self, one: _New, step: Step, ticket: Ticket, bill: Bill) -> None:
        one.flight.work, ticket.watch = ticket, bill.watch
        ticket.future.add_done_callback(partial(self._answered, one, step, bill))

    def _answered(self, one: _New, step: Step, bill: Bill, future: asyncio.Future[EngineResult]) -> None:
        """A ticket was answered: take the next step, or tell what was said; a failure is shared."""
        if future.cancelled():
            one.flight.fail(Cancelled("the judgement was cancelled"))
            return
        try:
            answer = future.result()
            bill.used_tokens += _count(one.usage, step, answer)
            next_step = one.judging_mode.then(step, answer)
            if isinstance(next_step, Step):
                [ticket] = self._scheduler.submit(
                    [next_step.ask],
                    [one.flight.deadline_s],
                    tenant=one.waiting.tenant,
                    groups=[one.group],
                    next_step=True,
                )
                self._follow(one, next_step, ticket, bill)
                return
        except JudgementError as error:
            one.flight.fail(error)
        except Exception as error:
            one.flight.fail(EngineFailed(f"the answer could not be read: {type(error).__name__}"))
            raise
        else:
            self._said(one, next_step)

    def _said(self, one: _New, said: ModeResult) -> None:
        """What the judge said, and meant, is known before anybody can ask again."""
        if abstains(said.label_mass, one.judging_mode.judge.mass_floor):
            self._give_up([one])
        else:
            self._store.put_many({one.key: said})
            if self._shared is not None:
                self._shared.put(one.key, said)
        one.flight.succeed(said)

    def _ended(self, one: _New, bill: Bill, future: asyncio.Future[ModeResult]) -> None:
        """What was left while the engine had it is paid for."""
        work = one.flight.work
        if isinstance(work, Ticket) and work.started and work.future.cancelled():
            bill.used_tokens += work.cost
        bill.end()
        if future.cancelled() or future.exception() is not None:
            self._give_up([one])

    async def drain(self, clock: Clock, until_s: float) -> None:
        """Wait for what is still open; what is left at `until_s` ends as cancelled."""
        await wait_all(clock, self._flights.futures, until_s)
        self._flights.fail_all(Cancelled("the service shut down before the judge answered"))

    def _salt(self, scope: str) -> str:
        """What keeps scopes apart in an engine's prefix cache; not to be guessed by a caller."""
        return hmac.new(self._secret, scope.encode(), hashlib.sha256).hexdigest() if scope else ""


def _count(usage: Usage, step: Step, answer: EngineResult) -> int:
    """Counts the step; returns the tokens that it took the judge."""
    written = answer.tokens if isinstance(answer, Generation) else 0
    usage.prompt_tokens += len(step.ask.prompt)
    usage.cached_tokens += answer.cached_tokens
    usage.completion_tokens += written
    return len(step.ask.prompt) - answer.cached_tokens + written
