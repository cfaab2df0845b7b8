"""The canary judges a few fixed queries at the start and on a timer, past every cache, and measures their drift.

How the judge reads levels has a canary of its own, on the timer alone, since it may read them badly and judge well.

Guarantees: the queries and their order stay the same while the service runs; drift is measured from the verdicts at the
start.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from service.engine.base import Generation, GenerationQuery, Sampling
from service.errors import JudgementError, RubricdError, Unparseable
from service.modes.modes import JudgingMode, Query, Step, VerdictMode, render_prompts
from service.rubrics.judgement import Verdict, abstains
from service.rubrics.levels import LevelVerdict
from service.rubrics.rubric import Candidate, Criterion, Option, Turn
from service.scheduling import Scheduler, Ticket
from service.scoring.exam.asking import ask

_HEADACHE = (Turn("user", "What should I do about a headache?"),)
_POEM = (Turn("user", "Write two lines about the sea."),)
_REST = "Drink some water and get some rest."
_WANTED_TOKENS = 5
_SEA = "The sea is wide, the sea is blue,\nand every wave brings something new."


def _candidate(turns: tuple[Turn, ...], response: str, *criteria: str) -> Candidate:
    return Candidate(
        id="canary",
        turns=turns,
        response=response,
        criteria=tuple(Criterion(id=str(n), text=text, points=1.0) for n, text in enumerate(criteria)),
    )


CANARY_CANDIDATES: tuple[Candidate, ...] = (
    _candidate(_HEADACHE, _REST, "Tells the user to get some rest.", "Tells the user to run a marathon."),
    _candidate(_HEADACHE, "", "Tells the user to get some rest."),
    _candidate(_POEM, _SEA, "Is about the sea.", "Has exactly two lines.", "Mentions a mountain."),
)


_LEVELS = (Option("Not at all.", 0.0), Option("In part.", 0.5), Option("Fully.", 1.0))
_GRADED: tuple[Candidate, ...] = tuple(
    replace(_candidate(turns, response), criteria=(Criterion(id="0", text=text, points=1.0, options=_LEVELS),))
    for turns, response, text in (
        (_HEADACHE, _REST, "How far does the response answer the question?"),
        (_POEM, "", "How far is the response about the sea?"),
    )
)


class LevelCanary:
    """Two criteria with levels, asked as requests ask them."""

    def __init__(self, judging_mode: JudgingMode, scheduler: Scheduler) -> None:
        self._judging_mode = judging_mode
        self._scheduler = scheduler
        self._queries = [Query(candidate, candidate.criteria[0]) for candidate in _GRADED]
        self._first: list[LevelVerdict] | None = None
        self._gives_none = not isinstance(judging_mode, VerdictMode) or judging_mode.readings.levels is None

    async def check(self) -> float | None:
        """The largest |difference of a level's probability| from the first time; 0 the first time. None for a judge
        that gave no levels then, which is not asked again. Raises JudgementError where it gives none any more,
        Unavailable or Overloaded where the scheduler refuses the queries."""
        if self._gives_none:
            return None
        found = await ask(self._judging_mode, self._queries, self._scheduler)
        read = [one for one in found if isinstance(one, LevelVerdict)]
        if len(read) < len(found):
            self._gives_none = self._first is None
            if self._gives_none:
                return None
            raise next(one for one in found if isinstance(one, JudgementError))
        self._first = self._first or read
        pairs = zip(read, self._first, strict=True)
        return max(abs(p - q) for now, then in pairs for p, q in zip(now.p_levels, then.p_levels, strict=True))


class Canary:
    """Its queries go through the scheduler like every request's, but past the cache and single flight."""

    def __init__(self, judging_mode: JudgingMode, scheduler: Scheduler) -> None:
        self._judging_mode = judging_mode
        self._scheduler = scheduler
        self._queries = [
            Query(candidate, criterion) for candidate in CANARY_CANDIDATES for criterion in candidate.criteria
        ]
        self._at_start: Sequence[Verdict] | None = None
        self.label_mass: float | None = None
        """On the first query, when it was last judged."""

    async def check(self) -> float:
        """The largest |difference of P(met)| from the first time; 0 the first time. Raises JudgementError where the
        judge gave no verdict, Unavailable or Overloaded where the scheduler refuses the queries."""
        verdicts = await self._verdicts()
        self._at_start = self._at_start or verdicts
        pairs = zip(verdicts, self._at_start, strict=True)
        return max(abs(now.p_met - then.p_met) for now, then in pairs)

    async def wanted(self) -> str | None:
        """What the judge would write by itself where it was asked for a label: its first tokens, at most
        `_WANTED_TOKENS`. None where it writes nothing either."""
        [prompt, *_] = await asyncio.to_thread(render_prompts, self._judging_mode.renderer, self._queries[:1], "", 0)
        query = GenerationQuery(prompt, Sampling(max_tokens=_WANTED_TOKENS))
        try:
            [ticket] = self._scheduler.submit([query], [None])
            result = await ticket.future
        except RubricdError:
            return None
        return result.text if isinstance(result, Generation) and result.text else None

    async def _verdicts(self) -> list[Verdict]:
        rendered = await asyncio.to_thread(render_prompts, self._judging_mode.renderer, self._queries, "", 0)
        pairs = zip(rendered, self._queries, strict=True)
        steps = [self._judging_mode.first_step(prompt, query) for prompt, query in pairs]
        tickets = self._scheduler.submit([step.query for step in steps], [None] * len(steps))
        await asyncio.wait([ticket.future for ticket in tickets])
        verdicts = [self._verdict(step, ticket) for step, ticket in zip(steps, tickets, strict=True)]
        floor = self._judging_mode.judge.mass_floor
        self.label_mass = verdicts[0].label_mass
        if abstains(self.label_mass, floor):
            raise Unparseable(
                f"on a plain query its labels hold {self.label_mass:.2g} of the vocabulary's mass, "
                f"and the floor is {floor:g} (where it would reason first, `chat_template_kwargs` may switch that off)"
            )
        return verdicts

    def _verdict(self, step: Step, ticket: Ticket) -> Verdict:
        """Raises JudgementError. A mode `verdict` has one step."""
        verdict = self._judging_mode.next_step(step, ticket.future.result())
        if not isinstance(verdict, Verdict):
            raise Unparseable("the mode of the canary gives no verdict in one step")
        return verdict
