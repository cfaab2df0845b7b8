"""Traces by OpenTelemetry, to a collector that speaks OTLP over HTTP. Imported only where traces are wanted.

Always true: what is traced is decided with the first span, by the caller where it has decided; spans wait in a bounded
queue for a thread of their own, and are dropped where the collector is slow or gone: no request waits for it. Nothing
that a caller wrote is in a span but the ids of its trace.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.errors import RubricdError
from service.observability import EngineBatch
from service.observability.tracing import UNTRACED, Headers, Name, Span, Trace, Watch

log = logging.getLogger(__name__)

_FLUSH_S = 3.0
_MOST = 32
"""Spans within a request, events of one and its links: those that come first."""

_Start = Callable[[str, Mapping[str, int]], otel.Span]

_PROPAGATOR = TraceContextTextMapPropagator()


class Otlp:
    """`endpoint` is the collector's base URL; `sample` is the share of requests that are traced where their callers
    have not decided. The standard variables `OTEL_*` for headers, certificates, time limits, the service's name and
    the queue hold."""

    def __init__(self, endpoint: str, sample: float) -> None:
        self._exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        resource = Resource.create({"service.name": "rubricd"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(sample), resource=resource, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("rubricd")

    def begin(self, method: str, route: str, request_id: str, headers: Headers) -> Trace:
        """Only what is posted is traced, not the questions of supervisors. Of the caller's headers `traceparent` alone
        is read: what else they may hold could be any text."""
        if method != "POST":
            return UNTRACED
        span = self._tracer.start_span(
            f"{method} {route}",
            _caller(headers),
            kind=otel.SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route, "rubricd.request_id": request_id},
        )
        return _Request(self._tracer, span) if span.is_recording() else UNTRACED

    async def stop(self) -> None:
        """In a thread that the process does not wait for: a collector that is gone does not keep it."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()

        def stop() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop has not waited
                loop.call_soon_threadsafe(stopped.set)

        threading.Thread(target=stop, name="traces-stop", daemon=True).start()
        try:
            await asyncio.wait_for(stopped.wait(), _FLUSH_S)
        except TimeoutError:
            log.warning("traces were not sent within %g s and are dropped", _FLUSH_S)
            self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _caller(headers: Headers) -> Context:
    named = [value.decode("latin-1") for name, value in headers if name == b"traceparent"]
    return _PROPAGATOR.extract({"traceparent": named[0]} if named else {}, Context())


class _Span:
    def __init__(self, span: otel.Span) -> None:
        self._span = span

    def set(self, **numbers: int) -> None:
        self._span.set_attributes(_named(numbers))


class _Request:
    """The span of a request, parent of all others here."""

    def __init__(self, tracer: otel.Tracer, span: otel.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = otel.set_span_in_context(span, Context())
        self._spans = 0

    @property
    def id(self) -> str:
        return otel.format_trace_id(self._span.get_span_context().trace_id)

    def span(self, name: Name, **numbers: int) -> AbstractContextManager[Span]:
        return self._within(self._start(name, _named(numbers)))

    @contextmanager
    def _within(self, span: otel.Span) -> Iterator[Span]:
        try:
            yield _Span(span)
        except BaseException as error:
            _failed(span, error.code if isinstance(error, RubricdError) else type(error).__name__)
            raise
        finally:
            span.end()

    def until(self, name: Name, futures: Collection[asyncio.Future[Any]], **numbers: int) -> None:
        if not futures:
            return
        span, open = self._start(name, _named(numbers)), len(futures)

        def ended(_: asyncio.Future[Any]) -> None:
            nonlocal open
            open -= 1
            if open == 0:
                span.end()

        for future in futures:
            future.add_done_callback(ended)

    def watch(self, queries: int, tokens: int) -> Watch:
        numbers = _named({"queries": queries, "tokens": tokens})
        return _Watch(self._start, self._span.get_span_context(), queries, numbers)

    def end(self, status: int, team: str | None, numbers: Mapping[str, int]) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if team is not None:
            self._span.set_attribute("rubricd.team", team)
        self._span.set_attributes(_named(numbers))
        if status >= 500:
            _failed(self._span, str(status))
        self._span.end()

    def _start(self, name: str, attributes: Mapping[str, int]) -> otel.Span:
        self._spans += 1
        if self._spans > _MOST:
            return otel.INVALID_SPAN
        return self._tracer.start_span(name, self._context, attributes=attributes)


class _Watch:
    """Two spans: `queue` until the engine has all the queries, `engine` from the first it gets to the last answer. The
    next steps of a query are part of `engine`."""

    def __init__(self, start: _Start, request: otel.SpanContext, queries: int, numbers: Mapping[str, int]) -> None:
        self._start = start
        self._request = request
        self._waiting = queries
        self._numbers = numbers
        self._queue: otel.Span | None = start("queue", numbers)
        self._engine: otel.Span | None = None
        self._batches = 0
        self._linked: set[int] = set()

    def start(self, queries: int) -> None:
        if self._engine is None:
            self._engine = self._start("engine", self._numbers)
        self._waiting -= queries
        if self._waiting <= 0:
            self._left_queue()

    def record_batch(self, queries: int, batch: EngineBatch, batch_watches: Collection[Watch]) -> None:
        self._batches += 1
        if self._engine is None or self._batches > _MOST:
            return
        self._link(batch_watches)
        tokens, ms = sum(batch.planned_tokens.values()), round(batch.seconds * 1000, 3)
        numbers = {"queries": queries, "batch_queries": batch.queries, "batch_tokens": tokens}
        self._engine.add_event(f"batch {batch.query_type}", {**_named(numbers), "rubricd.batch_ms": ms})

    def end(self) -> None:
        self._left_queue()
        if self._engine is not None:
            self._engine.set_attribute("rubricd.batches", self._batches)
            self._engine.end()
            self._engine = None

    def _left_queue(self) -> None:
        if self._queue is not None:
            self._queue.end()
            self._queue = None

    def _link(self, batch_watches: Collection[Watch]) -> None:
        """To the other requests of a batch."""
        for other in batch_watches:
            if not isinstance(other, _Watch) or self._engine is None or len(self._linked) >= _MOST:
                continue
            request = other._request
            if request.span_id != self._request.span_id and request.span_id not in self._linked:
                self._linked.add(request.span_id)
                self._engine.add_link(request)


def _named(numbers: Mapping[str, int]) -> dict[str, int]:
    return {f"rubricd.{name}": number for name, number in numbers.items()}


def _failed(span: otel.Span, kind: str) -> None:
    """Without the error's message: it may be of any text."""
    span.set_status(otel.StatusCode.ERROR)
    span.set_attribute("error.type", kind)
