"""What the rest of the service says to a trace, and to nobody where there is none.

Always true: a span carries names, numbers and a team from configuration, so never text of a request; how many spans a
request has does not depend on how many criteria it has; without traces nothing here costs more than a call.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol

from service.observability import EngineBatch

Name = Literal["cache", "render", "rules"]

Headers = Iterable[tuple[bytes, bytes]]


class Span(Protocol):
    def tell(self, **numbers: int) -> None:
        """What is known only now."""
        ...


class Watch(Protocol):
    """Hears what becomes of questions that were let in together: their way through the queue and the engine."""

    def taken(self, questions: int) -> None:
        """The engine gets so many of them, in one batch."""
        ...

    def answered(self, questions: int, batch: EngineBatch, beside: Collection["Watch"]) -> None:
        """So many of them were in a batch with those of others, which is over."""
        ...

    def end(self) -> None:
        """Every question was answered, or is not waited for any more."""
        ...


class Trace(Protocol):
    """One request's part of a trace."""

    @property
    def id(self) -> str | None:
        """The trace's id in hexadecimal; None where there is no trace."""
        ...

    def span(self, name: Name, **numbers: int) -> AbstractContextManager[Span]: ...

    def until(self, name: Name, futures: Collection[asyncio.Future[Any]], **numbers: int) -> None:
        """A span that ends with the last of them."""
        ...

    def watch(self, questions: int, tokens: int) -> Watch | None:
        """For questions that were let in just now."""
        ...

    def end(self, status: int, team: str | None, numbers: Mapping[str, int]) -> None:
        """The request was answered, or its caller left."""
        ...


class Tracing(Protocol):
    def begin(self, method: str, route: str, request_id: str, headers: Headers) -> Trace:
        """A request came; `headers` may name the trace that it is part of."""
        ...

    async def stop(self) -> None:
        """Sends what was not sent yet, within a few seconds."""
        ...


class Untraced:
    """A trace that nobody keeps, and what makes such traces."""

    id: str | None = None

    def begin(self, method: str, route: str, request_id: str, headers: Headers) -> Trace:
        return self

    async def stop(self) -> None:
        return

    def span(self, name: Name, **numbers: int) -> AbstractContextManager[Span]:
        return _NO_SPAN

    def until(self, name: Name, futures: Collection[asyncio.Future[Any]], **numbers: int) -> None:
        return

    def watch(self, questions: int, tokens: int) -> Watch | None:
        return None

    def end(self, status: int, team: str | None, numbers: Mapping[str, int]) -> None:
        return


class _NoSpan:
    def tell(self, **numbers: int) -> None:
        return


_NO_SPAN = nullcontext(_NoSpan())

UNTRACED = Untraced()


def watching(watches: Iterable[Watch | None]) -> dict[Watch, int]:
    """Who hears of a batch, and how many of its questions are whose."""
    heard: dict[Watch, int] = {}
    for watch in watches:
        if watch is not None:
            heard[watch] = heard.get(watch, 0) + 1
    return heard


def tell_taken(watches: Mapping[Watch, int]) -> None:
    for watch, questions in watches.items():
        watch.taken(questions)


def tell_answered(watches: Mapping[Watch, int], batch: EngineBatch) -> None:
    beside: Sequence[Watch] = tuple(watches)
    for watch, questions in watches.items():
        watch.answered(questions, batch, beside)
