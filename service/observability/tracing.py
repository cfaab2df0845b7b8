"""Traces record a request's spans through the OpenTelemetry API; a request that is not traced has the API's no-op span.

Guarantees: a span holds names, numbers and a team from the teams file, and no text of a request. The number of spans
does not grow with the number of criteria.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.errors import RubricdError
from service.observability.telemetry import EngineBatch

Name = Literal["cache", "render", "rules"]

Headers = Iterable[tuple[bytes, bytes]]

_LIMIT = 32
"""The most spans within a request, events of one span, and links of one span; later ones are left out."""

_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Begins a trace for each request; without a tracer every request is untraced."""

    def __init__(self, tracer: otel.Tracer | None = None) -> None:
        self._tracer = tracer

    def begin(self, method: str, route: str, request_id: str, headers: Headers) -> "Trace":
        """The trace of a request, in the caller's trace if `headers` name one. Health checks and scrapes, which are
        GETs, are not traced. Only `traceparent` is read: the caller's other headers could hold any text."""
        if self._tracer is None or method != "POST":
            return UNTRACED
        caller = dict(headers).get(b"traceparent")
        span = self._tracer.start_span(
            f"{method} {route}",
            Context() if caller is None else _PROPAGATOR.extract({"traceparent": caller.decode("latin-1")}, Context()),
            kind=otel.SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route, "rubricd.request_id": request_id},
        )
        return Trace(self._tracer, span) if span.is_recording() else UNTRACED

    async def stop(self) -> None:
        """Sends the spans that have not been sent yet, within a few seconds."""


class Span:
    """A span that is open."""

    __slots__ = ("_span",)

    def __init__(self, span: otel.Span) -> None:
        self._span = span

    def set(self, **numbers: int) -> None:
        """Adds attributes to the span."""
        self._span.set_attributes(_named(numbers))


class Trace:
    """The span of one request, and the parent of all its other spans."""

    def __init__(self, tracer: otel.Tracer, span: otel.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._recording = span.is_recording()
        self._context = otel.set_span_in_context(span, Context())
        self._spans = 0
        self.id: str | None = None
        """The trace's id in hexadecimal; None where the request is not traced."""
        if self._recording:
            self.id = otel.format_trace_id(span.get_span_context().trace_id)

    @contextmanager
    def span(self, name: Name, **numbers: int) -> Iterator[Span]:
        """A span for the time of the `with` block."""
        span = self.start_span(name, numbers)
        try:
            yield Span(span)
        except BaseException as error:
            _fail(span, error.code if isinstance(error, RubricdError) else type(error).__name__)
            raise
        finally:
            span.end()

    def until(self, name: Name, futures: Collection[asyncio.Future[Any]], **numbers: int) -> None:
        """A span from now until the last of the futures is done."""
        if not futures or not self._recording:
            return
        span, open = self.start_span(name, numbers), len(futures)

        def done(_: asyncio.Future[Any]) -> None:
            nonlocal open
            open -= 1
            if open == 0:
                span.end()

        for future in futures:
            future.add_done_callback(done)

    def watch(self, queries: int, tokens: int) -> "Watch | None":
        """Begins the record of queries that were admitted just now; None where the request is not traced, so that
        an untraced query costs the scheduler one comparison."""
        return Watch(self, {"queries": queries, "tokens": tokens}) if self._recording else None

    def end(self, status: int, team: str | None, numbers: Mapping[str, int]) -> None:
        """The request was answered, or its caller disconnected."""
        if not self._recording:
            return
        self._span.set_attribute("http.response.status_code", status)
        if team is not None:
            self._span.set_attribute("rubricd.team", team)
        self._span.set_attributes(_named(numbers))
        if status >= 500:
            _fail(self._span, str(status))
        self._span.end()

    def start_span(self, name: str, numbers: Mapping[str, int]) -> otel.Span:
        """A child of the request's span, until there are too many of them."""
        if not self._recording or self._spans == _LIMIT:
            return otel.INVALID_SPAN
        self._spans += 1
        return self._tracer.start_span(name, self._context, attributes=_named(numbers))

    @property
    def span_context(self) -> otel.SpanContext:
        return self._span.get_span_context()


UNTRACED = Trace(otel.NoOpTracer(), otel.INVALID_SPAN)


class Watch:
    """Records the way of queries that were admitted together, in two spans: `queue` until the engine has all of them,
    `engine` from the first batch to the last answer. The next steps of a query belong to `engine`."""

    def __init__(self, trace: Trace, numbers: Mapping[str, int]) -> None:
        self._trace = trace
        self._numbers = numbers
        self._queued = numbers["queries"]
        self._queue: otel.Span | None = trace.start_span("queue", numbers)
        self._engine: otel.Span | None = None
        self._batches = 0
        self._linked = {trace.span_context.span_id}

    def start(self, queries: int) -> None:
        """The engine begins a batch with this many of the queries."""
        if self._engine is None:
            self._engine = self._trace.start_span("engine", self._numbers)
        self._queued -= queries
        if self._queued <= 0:
            self._end_queue()

    def record_batch(self, queries: int, batch: EngineBatch, batch_watches: Collection["Watch"]) -> None:
        """A batch with this many of the queries has ended; `batch_watches` are those of all its queries."""
        self._batches += 1
        if self._engine is None or self._batches > _LIMIT:
            return
        for other in batch_watches:  # the requests that shared the batch
            context = other._trace.span_context
            if context.span_id not in self._linked and len(self._linked) <= _LIMIT:  # the request itself is in it
                self._linked.add(context.span_id)
                self._engine.add_link(context)
        tokens, ms = sum(batch.planned_tokens.values()), round(batch.seconds * 1000, 3)
        numbers = _named({"queries": queries, "batch_queries": batch.queries, "batch_tokens": tokens})
        self._engine.add_event(f"batch {batch.query_type}", {**numbers, "rubricd.batch_ms": ms})

    def end(self) -> None:
        """Every query was answered or cancelled."""
        self._end_queue()
        if self._engine is not None:
            self._engine.set_attribute("rubricd.batches", self._batches)
            self._engine.end()
            self._engine = None

    def _end_queue(self) -> None:
        if self._queue is not None:
            self._queue.end()
            self._queue = None


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


def _named(numbers: Mapping[str, int]) -> dict[str, int]:
    return {f"rubricd.{name}": number for name, number in numbers.items()}


def _fail(span: otel.Span, error_type: str) -> None:
    """The error's message stays out: it may quote a request."""
    span.set_status(otel.StatusCode.ERROR)
    span.set_attribute("error.type", error_type)
