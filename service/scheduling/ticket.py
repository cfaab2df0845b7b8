"""One question's place in the queue.

Always true: a ticket is answered at most once; whoever answers later changes nothing.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence

from service.engine.base import EngineQuery, Generation, GenerationQuery, LabelLogprobs, Prompt, common_length
from service.errors import JudgementError
from service.observability.tracing import Watch
from service.scheduling.tenant import Tenant

Answer = LabelLogprobs | Generation


class Ticket:
    """`future` holds the answer or the error; `taken` says that the engine got it. `cost` is in tokens that will be
    computed; `since_s`, when it was let in, and `deadline_s` are points on the clock. Of what becomes of
    it `watch` hears."""

    __slots__ = (
        "_left",
        "ask",
        "cost",
        "deadline_s",
        "future",
        "group",
        "queued",
        "since_s",
        "taken",
        "tenant",
        "watch",
    )

    def __init__(
        self,
        ask: EngineQuery,
        cost: int,
        deadline_s: float | None,
        left: Callable[["Ticket"], None],
        *,
        tenant: Tenant,
        group: Hashable,
        since_s: float = 0.0,
    ) -> None:
        self.ask = ask
        self.cost = cost
        self.deadline_s = deadline_s
        self.tenant = tenant
        self.group = group
        self.since_s = since_s
        self.queued = True
        self.taken = False
        self.watch: Watch | None = None
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._left = left

    @property
    def prompt(self) -> Prompt:
        return self.ask.prompt

    def answer(self, outcome: Answer | JudgementError) -> None:
        if self.future.done():
            return
        if isinstance(outcome, JudgementError):
            self.future.set_exception(outcome)
            self.future.exception()  # retrieved here: a ticket whose waiter has left is no news
        else:
            self.future.set_result(outcome)

    def postpone(self, deadline_s: float | None) -> None:
        """Someone more patient waits too."""
        self.deadline_s = deadline_s

    def cancel(self) -> None:
        """Nobody waits any more: its place is free at once, and the engine need not go on."""
        if not self.future.done():
            self.future.cancel()
            self._left(self)


def cost_of(ask: EngineQuery, before: Prompt | None) -> int:
    """Tokens that `ask` makes the engine compute when it follows `before`: what both begin with counts once."""
    prompt = ask.prompt
    known = 0 if before is None else common_length(before, prompt)
    written = ask.sampling.max_tokens if isinstance(ask, GenerationQuery) else 0
    return len(prompt) - known + written


def costs(asks: Sequence[EngineQuery]) -> list[int]:
    """Tokens that each ask makes the engine compute, in this order."""
    before = [None, *(ask.prompt for ask in asks)][: len(asks)]
    return [cost_of(ask, prompt) for ask, prompt in zip(asks, before, strict=True)]
