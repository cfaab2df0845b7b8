"""Several queries that one flight waits for, as one piece of work.

Guarantees: who cancels the work cancels each query that is not answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.engine.base import EngineResult
from service.errors import Cancelled, EngineFailed, JudgementError
from service.scheduling import Ticket


@dataclass(eq=False, slots=True)
class TicketGroup:
    """`open` of the tickets are not answered."""

    tickets: Sequence[Ticket]
    open: int

    def cancel(self) -> None:
        for ticket in self.tickets:
            ticket.cancel()

    def extend_deadline(self, deadline_s: float | None) -> None:
        for ticket in self.tickets:
            ticket.extend_deadline(deadline_s)


def answer_of(ticket: Ticket) -> EngineResult | JudgementError:
    """What became of a ticket that is answered."""
    if ticket.future.cancelled():
        return Cancelled("the judgement was cancelled")
    error = ticket.future.exception()
    if error is None:
        return ticket.future.result()
    return error if isinstance(error, JudgementError) else EngineFailed(f"the engine failed: {type(error).__name__}")
