"""The caller's trace, handed on: the span that is current where the client is called is the parent of the service's.

Always true: OpenTelemetry is never imported here first; a job that does not use it has no span.
"""

import sys
from collections.abc import Mapping


def traced(headers: Mapping[str, str]) -> dict[str, str]:
    """These headers and those of the current span, where there is one."""
    carrier = dict(headers)
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carrier)
    return carrier
