"""What a batch was, for metrics and traces."""

from service.engine.base import Generation, GenerationQuery, LabelLogprobs, LabelQuery, Outcome, Prompt, Sampling
from service.errors import EngineFailed
from service.scheduling import Tenant, Ticket
from service.scheduling.batch_summary import queue_waits, summarize_batch

MINE, THEIRS = Tenant("mine"), Tenant("theirs", priority_class="eval")


def ticket_of(tenant: Tenant, tokens: int, *, cost: int, admitted_s: float = 0.0, generated: int = 0) -> Ticket:
    prompt = Prompt((1,) * (tokens - 1), (2,))
    query = GenerationQuery(prompt, Sampling(generated)) if generated else LabelQuery(prompt, (3, 4))
    return Ticket(query, cost, None, lambda _: None, tenant=tenant, group="g", admitted_s=admitted_s)


async def test_computed_tokens_are_counted_by_team_and_shared_tokens_apart() -> None:
    batch = [ticket_of(MINE, 10, cost=10), ticket_of(MINE, 10, cost=3), ticket_of(THEIRS, 20, cost=20)]
    outcomes: list[Outcome] = [
        LabelLogprobs((-1.0, -1.0)),
        LabelLogprobs((-1.0, -1.0), cached_tokens=7),
        EngineFailed("no"),
    ]
    summary = summarize_batch(batch, outcomes, seconds=2.0, busy_s=1.5)
    assert (summary.query_type, summary.queries, summary.seconds, summary.busy_s) == ("label", 3, 2.0, 1.5)
    assert summary.planned_tokens == {"mine": 13, "theirs": 20}
    assert (summary.computed_tokens, summary.shared_tokens, summary.generated_tokens) == ({"mine": 13}, 7, 0)


async def test_generated_tokens_count_for_the_team() -> None:
    tickets = [ticket_of(MINE, 10, cost=60, generated=50)]
    summary = summarize_batch(tickets, [Generation("x", True, 4, 6)], seconds=1.0, busy_s=1.0)
    assert (summary.query_type, summary.computed_tokens) == ("generation", {"mine": 8})
    assert (summary.shared_tokens, summary.generated_tokens) == (6, 4)


async def test_a_failed_batch_took_its_time_and_computed_nothing() -> None:
    summary = summarize_batch([ticket_of(MINE, 10, cost=10)], None, seconds=1.0, busy_s=1.0)
    assert (summary.planned_tokens, summary.computed_tokens, summary.shared_tokens) == ({"mine": 10}, {}, 0)


async def test_queue_waits_are_grouped_by_tenant() -> None:
    batch = [
        ticket_of(MINE, 2, cost=2, admitted_s=1.0),
        ticket_of(THEIRS, 2, cost=2, admitted_s=4.0),
        ticket_of(MINE, 2, cost=2),
    ]
    assert queue_waits(batch, 5.0) == {MINE: [4.0, 5.0], THEIRS: [1.0]}
