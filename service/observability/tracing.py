"""What the rest of the service says to a trace, and to nobody where there is none.

Always true: a span carries names, numbers and a team from configuration, so never text of a request; how many spans a
request has does not depend on how many criteria it has; without traces nothing here costs more than a call.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol

from service.observability import EngineBatch

Name = Literal["cache", "render", "rules"]

Headers = Iterable[tuple[bytes, bytes]]


class Span(Protocol):
    def set(self, **numbers: int) -> None:
        """Adds attributes to the span."""
        ...


class Watch(Protocol):
    """Records the way of queries that were admitted together through the queue and the engine."""

    def start(self, queries: int) -> None:
        """The engine begins a batch with this many of the queries."""
        ...

    def record_batch(self, queries: int, batch: EngineBatch, batch_watches: Collection["Watch"]) -> None:
        """A batch with this many of the queries has ended; `batch_watches` are those of all its queries."""
        ...

    def end(self) -> None:
        """Every query was answered or cancelled."""
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

    def watch(self, queries: int, tokens: int) -> Watch | None:
        """Begins the record of queries that were admitted just now."""
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

    def watch(self, queries: int, tokens: int) -> Watch | None:
        return None

    def end(self, status: int, team: str | None, numbers: Mapping[str, int]) -> None:
        return


class _NoSpan:
    def set(self, **numbers: int) -> None:
        return


_NO_SPAN = nullcontext(_NoSpan())

UNTRACED = Untraced()


class BatchTrace:
    """Records one engine batch in the traces of the requests whose queries it holds. `watches` has one entry for each
    query of the batch; None where its request is not traced."""

    def __init__(self, watches: Iterable[Watch | None]) -> None:
        self._queries: dict[Watch, int] = {}
        for watch in watches:
            if watch is not None:
                self._queries[watch] = self._queries.get(watch, 0) + 1
        for watch, queries in self._queries.items():
            watch.start(queries)

    def end(self, batch: EngineBatch) -> None:
        for watch, queries in self._queries.items():
            watch.record_batch(queries, batch, self._queries.keys())
