"""One question's place in the queue.

Always true: a ticket is answered at most once; whoever answers later changes nothing.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence

from service.engine.base import EngineQuery, EngineResult, GenerationQuery, Prompt, common_length
from service.errors import JudgementError
from service.observability.tracing import Watch
from service.scheduling.fair_share import Tenant


class Ticket:
    """`future` holds the answer or the error; `started` says that the engine got it. `cost` is in tokens that will be
    computed; `since_s`, when it was let in, and `deadline_s` are points on the clock. Of what becomes of
    it `watch` hears."""

    __slots__ = (
        "_left",
        "cost",
        "deadline_s",
        "future",
        "group",
        "query",
        "queued",
        "since_s",
        "started",
        "tenant",
        "watch",
    )

    def __init__(
        self,
        query: EngineQuery,
        cost: int,
        deadline_s: float | None,
        left: Callable[["Ticket"], None],
        *,
        tenant: Tenant,
        group: Hashable,
        since_s: float = 0.0,
    ) -> None:
        self.query = query
        self.cost = cost
        self.deadline_s = deadline_s
        self.tenant = tenant
        self.group = group
        self.since_s = since_s
        self.queued = True
        self.started = False
        self.watch: Watch | None = None
        self.future: asyncio.Future[EngineResult] = asyncio.get_running_loop().create_future()
        self._left = left

    @property
    def prompt(self) -> Prompt:
        return self.query.prompt

    def answer(self, outcome: EngineResult | JudgementError) -> None:
        if self.future.done():
            return
        if isinstance(outcome, JudgementError):
            self.future.set_exception(outcome)
            self.future.exception()  # retrieved here: a ticket whose waiter has left is no news
        else:
            self.future.set_result(outcome)

    def extend_deadline(self, deadline_s: float | None) -> None:
        """Someone more patient waits too."""
        self.deadline_s = deadline_s

    def cancel(self) -> None:
        """Nobody waits any more: its place is free at once, and the engine need not go on."""
        if not self.future.done():
            self.future.cancel()
            self._left(self)


def cost_of(query: EngineQuery, before: Prompt | None) -> int:
    """Tokens that `query` makes the engine compute when it follows `before`: what both begin with counts once."""
    prompt = query.prompt
    known = 0 if before is None else common_length(before, prompt)
    written = query.sampling.max_tokens if isinstance(query, GenerationQuery) else 0
    return len(prompt) - known + written


def costs(queries: Sequence[EngineQuery]) -> list[int]:
    """Tokens that each query makes the engine compute, in this order."""
    before = [None, *(query.prompt for query in queries)][: len(queries)]
    return [cost_of(query, prompt) for query, prompt in zip(queries, before, strict=True)]
