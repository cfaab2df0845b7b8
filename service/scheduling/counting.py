"""What a batch amounts to, for the metrics. Pure.

Always true: what the engine computed is counted whether or not anybody still waits for it.
"""

from collections import Counter
from collections.abc import Sequence

from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, LabelQuery, Outcome
from service.observability import EngineBatch
from service.scheduling.fair_share import Tenant
from service.scheduling.ticket import Ticket


def waits(batch: Sequence[Ticket], now_s: float) -> dict[Tenant, list[float]]:
    """Seconds from being let in until now."""
    waited: dict[Tenant, list[float]] = {}
    for ticket in batch:
        waited.setdefault(ticket.tenant, []).append(now_s - ticket.since_s)
    return waited


def batch_of(
    batch: Sequence[Ticket], outcomes: Sequence[Outcome | GenerationOutcome] | None, *, seconds: float, busy_s: float
) -> EngineBatch:
    """`outcomes` are in the batch's order; None where there are none."""
    costs: Counter[str] = Counter()
    computed: Counter[str] = Counter()
    shared = written = 0
    for ticket in batch:
        costs[ticket.tenant.team] += ticket.cost
    for ticket, outcome in () if outcomes is None else zip(batch, outcomes, strict=True):
        if isinstance(outcome, LabelLogprobs | Generation):
            decoded = outcome.tokens if isinstance(outcome, Generation) else 0
            computed[ticket.tenant.team] += len(ticket.prompt) - outcome.cached_tokens + decoded
            shared += outcome.cached_tokens
            written += decoded
    return EngineBatch(
        kind="read" if isinstance(batch[0].query, LabelQuery) else "write",
        questions=len(batch),
        seconds=seconds,
        busy_s=busy_s,
        costs=costs,
        computed=computed,
        shared_tokens=shared,
        written_tokens=written,
    )
