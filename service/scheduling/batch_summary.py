"""Says of a batch what it waited for, took and computed, for metrics and traces. Pure.

Guarantees: what the engine computed counts whether or not anybody still waits for it. A price is counted where a server
named one; what has none is counted apart.
"""

from collections import Counter
from collections.abc import Sequence

from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, LabelQuery, Outcome
from service.observability import EngineBatch
from service.scheduling.fair_share import Tenant
from service.scheduling.queue import Ticket


def queue_waits(tickets: Sequence[Ticket], now_s: float) -> dict[Tenant, list[float]]:
    """Seconds from admission until now, by tenant."""
    waits_s: dict[Tenant, list[float]] = {}
    for ticket in tickets:
        waits_s.setdefault(ticket.tenant, []).append(now_s - ticket.admitted_s)
    return waits_s


def summarize_batch(
    tickets: Sequence[Ticket],
    outcomes: Sequence[Outcome | GenerationOutcome] | None,
    *,
    seconds: float,
    busy_s: float,
) -> EngineBatch:
    """`outcomes` are in the tickets' order; None where the batch failed."""
    planned: Counter[str] = Counter()
    computed: Counter[str] = Counter()
    dollars: dict[str, float] = {}
    unpriced: Counter[str] = Counter()
    shared = generated = 0
    for ticket in tickets:
        planned[ticket.tenant.team] += ticket.cost
    for ticket, outcome in () if outcomes is None else zip(tickets, outcomes, strict=True):
        team = ticket.tenant.team
        if isinstance(outcome, LabelLogprobs | Generation):
            decoded = outcome.tokens if isinstance(outcome, Generation) else 0
            computed[team] += len(ticket.query.prompt) - outcome.cached_tokens + decoded
            shared += outcome.cached_tokens
            generated += decoded
        elif (spent := outcome.spent) is not None:
            computed[team] += spent.computed_tokens
            shared += spent.cached_tokens
            generated += spent.generated_tokens
            if spent.cost is None:
                unpriced[team] += 1
            else:
                dollars[team] = dollars.get(team, 0.0) + spent.cost
    return EngineBatch(
        query_type="label" if isinstance(tickets[0].query, LabelQuery) else "generation",
        queries=len(tickets),
        seconds=seconds,
        busy_s=busy_s,
        planned_tokens=planned,
        computed_tokens=computed,
        shared_tokens=shared,
        generated_tokens=generated,
        dollars=dollars,
        unpriced=unpriced,
    )
