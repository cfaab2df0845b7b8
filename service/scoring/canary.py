"""A few fixed questions that the judge is asked at the start and on a timer, past every cache: does it still answer,
and does it still answer the same?

Always true: the questions and their order never change while the service runs; drift is measured from the answers at
the start.
"""

import asyncio
from collections.abc import Sequence

from service.errors import Unparseable
from service.modes.label_verdict import read_verdict
from service.modes.modes import JudgingMode, Question, as_label_logprobs, prompts
from service.rubrics.judgement import Verdict
from service.rubrics.rubric import Candidate, Criterion, Turn
from service.scheduling import Scheduler

_HEADACHE = (Turn("user", "What should I do about a headache?"),)
_POEM = (Turn("user", "Write two lines about the sea."),)
_REST = "Drink some water and get some rest."
_SEA = "The sea is wide, the sea is blue,\nand every wave brings something new."


def _asked(turns: tuple[Turn, ...], response: str, *criteria: str) -> Candidate:
    return Candidate(
        id="canary",
        turns=turns,
        response=response,
        criteria=tuple(Criterion(id=str(n), text=text, points=1.0) for n, text in enumerate(criteria)),
    )


CANARY_CANDIDATES: tuple[Candidate, ...] = (
    _asked(_HEADACHE, _REST, "Tells the user to get some rest.", "Tells the user to run a marathon."),
    _asked(_HEADACHE, "", "Tells the user to get some rest."),
    _asked(_POEM, _SEA, "Is about the sea.", "Has exactly two lines.", "Mentions a mountain."),
)


class Canary:
    """Asks through the scheduler like everybody, but neither the cache nor a flight."""

    def __init__(self, judging_mode: JudgingMode, scheduler: Scheduler) -> None:
        self._way = judging_mode
        self._scheduler = scheduler
        self._questions = [
            Question(candidate, criterion) for candidate in CANARY_CANDIDATES for criterion in candidate.criteria
        ]
        self._at_start: Sequence[Verdict] | None = None

    async def check(self) -> float:
        """The largest |difference of P(met)| from the first time; 0 the first time. Raises JudgementError where the
        judge gave no verdict, Unavailable or Overloaded where it could not be asked."""
        said = await self._verdicts()
        self._at_start = self._at_start or said
        pairs = zip(said, self._at_start, strict=True)
        return max(abs(now.p_met - then.p_met) for now, then in pairs)

    async def _verdicts(self) -> list[Verdict]:
        rendered = await asyncio.to_thread(prompts, self._way, self._questions, "", 0)
        asks = [self._way.first(prompt, q).ask for prompt, q in zip(rendered, self._questions, strict=True)]
        tickets = self._scheduler.submit(asks, [None] * len(asks))
        await asyncio.wait([ticket.future for ticket in tickets])
        verdicts = [read_verdict(as_label_logprobs(ticket.future.result())) for ticket in tickets]
        floor = self._way.judge.mass_floor
        if (verdicts[0].label_mass or 0.0) < floor:
            raise Unparseable(
                f"on a plain question its labels hold {verdicts[0].label_mass:.2g} of the vocabulary's mass, "
                f"and the floor is {floor:g}"
            )
        return verdicts
