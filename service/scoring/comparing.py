"""Compares pairs of responses: each is asked about in both orders, through the same caches, queue and judge as scores.

Guarantees: a pair has a preference only where both orders have a verdict whose labels hold enough of the vocabulary's
mass; else it has a status that says why. A pair's outcome does not depend on the others of its request.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.clock import Clock, Turns, wait_all
from service.errors import JudgementError
from service.modes.comparison import Pair, Preference, read_preference
from service.modes.modes import JudgingMode
from service.rubrics.judgement import Source, Verdict, abstains, abstention
from service.scoring.evaluator import Evaluator, release_all
from service.scoring.request import RequestContext, Usage
from service.scoring.results import Pending


@dataclass(frozen=True, slots=True)
class Order:
    """The judge's answer in one order of two responses: None where it gave none."""

    verdict: Verdict | None
    source: Source


@dataclass(frozen=True, slots=True)
class Compared:
    """`orders` are with a first and with b first. `preference` is what both say, also where that is an abstention, and
    None where one of them has no answer."""

    pair: Pair
    status: str
    orders: tuple[Order, Order]
    preference: Preference | None
    detail: str | None = None


async def compare(
    judging_mode: JudgingMode,
    pairs: Sequence[Pair],
    context: RequestContext,
    usage: Usage,
    *,
    evaluator: Evaluator,
    clock: Clock,
) -> list[Compared]:
    """One for each pair, in order, when all are judged or the deadline has come. Raises RequestError where they are
    refused; then none of them is judged."""
    queries = [query for pair in pairs for query in pair.queries()]
    pending = await evaluator.evaluate(judging_mode, queries, context, usage)
    try:
        await wait_all(clock, [flight.future for one in pending for flight in one.flights], context.deadline_s)
        turns = Turns()
        found: list[Compared] = []
        for pair, a_first, b_first in zip(pairs, pending[::2], pending[1::2], strict=True):
            found.append(_compared(pair, (a_first, b_first), judging_mode.judge.mass_floor))
            await turns.rest()
        return found
    finally:
        release_all(pending)


def _compared(pair: Pair, both: tuple[Pending, Pending], mass_floor: float) -> Compared:
    verdicts: list[Verdict | None] = []
    failure: JudgementError | None = None
    for one in both:
        try:
            result = one.result()
            assert isinstance(result, Verdict)
            verdicts.append(result)
        except JudgementError as error:
            failure = failure or error
            verdicts.append(None)
    a_first, b_first = verdicts
    orders = Order(a_first, both[0].source), Order(b_first, both[1].source)
    if a_first is None or b_first is None:
        assert failure is not None
        return Compared(pair, failure.code, orders, None, str(failure) or None)
    preference = read_preference(a_first, b_first)
    if abstains(preference.label_mass, mass_floor):
        detail = abstention(preference.label_mass, mass_floor, "judge").detail
        return Compared(pair, "abstained", orders, preference, detail)
    return Compared(pair, "ok", orders, preference)
