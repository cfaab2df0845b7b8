"""What a batch amounts to."""

from service.engine.base import Generation, GenerationQuery, LabelLogprobs, LabelQuery, Outcome, Prompt, Sampling
from service.errors import EngineFailed
from service.scheduling.fair_share import Tenant
from service.scheduling.queue import Ticket
from service.scheduling.scheduler import queue_waits, summarize_batch

MINE, THEIRS = Tenant("mine"), Tenant("theirs", priority_class="eval")


def ticket(tenant: Tenant, tokens: int, *, cost: int, admitted_s: float = 0.0, written: int = 0) -> Ticket:
    prompt = Prompt((1,) * (tokens - 1), (2,))
    ask = GenerationQuery(prompt, Sampling(written)) if written else LabelQuery(prompt, (3, 4))
    return Ticket(ask, cost, None, lambda _: None, tenant=tenant, group="g", admitted_s=admitted_s)


async def test_what_came_about_is_counted_by_team_and_what_was_shared_apart() -> None:
    batch = [ticket(MINE, 10, cost=10), ticket(MINE, 10, cost=3), ticket(THEIRS, 20, cost=20)]
    outcomes: list[Outcome] = [
        LabelLogprobs((-1.0, -1.0)),
        LabelLogprobs((-1.0, -1.0), cached_tokens=7),
        EngineFailed("no"),
    ]
    had = summarize_batch(batch, outcomes, seconds=2.0, busy_s=1.5)
    assert (had.query_type, had.queries, had.seconds, had.busy_s) == ("label", 3, 2.0, 1.5)
    assert had.planned_tokens == {"mine": 13, "theirs": 20}
    assert (had.computed_tokens, had.shared_tokens, had.generated_tokens) == ({"mine": 13}, 7, 0)


async def test_what_was_written_counts_for_the_team() -> None:
    had = summarize_batch(
        [ticket(MINE, 10, cost=60, written=50)], [Generation("x", True, 4, 6)], seconds=1.0, busy_s=1.0
    )
    assert (had.query_type, had.computed_tokens) == ("generation", {"mine": 8})
    assert (had.shared_tokens, had.generated_tokens) == (6, 4)


async def test_a_batch_without_answers_took_its_time_and_computed_nothing() -> None:
    had = summarize_batch([ticket(MINE, 10, cost=10)], None, seconds=1.0, busy_s=1.0)
    assert (had.planned_tokens, had.computed_tokens, had.shared_tokens) == ({"mine": 10}, {}, 0)


async def test_waits_are_those_of_each_flow() -> None:
    batch = [
        ticket(MINE, 2, cost=2, admitted_s=1.0),
        ticket(THEIRS, 2, cost=2, admitted_s=4.0),
        ticket(MINE, 2, cost=2),
    ]
    assert queue_waits(batch, 5.0) == {MINE: [4.0, 5.0], THEIRS: [1.0]}
