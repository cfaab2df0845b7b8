"""Exports traces by the OpenTelemetry SDK to a collector that speaks OTLP over HTTP; imported if one is configured.

Guarantees: spans wait in a bounded queue for a thread of their own, and are dropped where the collector is slow or
unavailable, so no request waits for it. The first span decides whether a request is traced: as its caller decided, or
by `sample` where the caller did not.
"""

import asyncio
import logging
import threading
from contextlib import suppress

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from service.observability.tracing import Tracing

log = logging.getLogger(__name__)

_FLUSH_S = 3.0


class Otlp(Tracing):
    """`endpoint` is the collector's base URL; `sample` is the fraction of requests that are traced where their callers
    have not decided. The standard variables `OTEL_*` set headers, certificates, timeouts, the service's name and the
    queue."""

    def __init__(self, endpoint: str, sample: float) -> None:
        self._exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        resource = Resource.create({"service.name": "rubricd"}).merge(OTELResourceDetector().detect())
        sampler = ParentBasedTraceIdRatio(sample)
        self._provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        super().__init__(self._provider.get_tracer("rubricd"))

    async def stop(self) -> None:
        """In a thread that the process does not wait for, so that an unavailable collector cannot delay its end."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()

        def stop() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(stopped.set)

        threading.Thread(target=stop, name="traces-stop", daemon=True).start()
        try:
            await asyncio.wait_for(stopped.wait(), _FLUSH_S)
        except TimeoutError:
            log.warning("traces were not sent within %g s and are dropped", _FLUSH_S)
            self._exporter.shutdown()  # type: ignore[no-untyped-call]
