"""Makes the headers of a call: one that keeps calls about one prompt on one replica, and those of the caller's trace.

Guarantees: where a request is judged is all that the affinity header changes. It reveals twelve bits of a hash of the
prompt, keyed by the caller's token where there is one, and nothing of responses, rubrics or references. OpenTelemetry
is never imported here first: a job that does not use it has no span.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence

from trainer_client import wire

HEADER = "x-session-id"
"""The header by which proxies keep requests together: Ray Serve knows it; it is to be set in nginx and Envoy."""
_DIGITS = 3


def affinity(items: Sequence[wire.Item] | Sequence[wire.PairItem], token: str | None) -> str | None:
    """A value that is the same for all items with this prompt, in every process that holds this token; None where
    prompts differ.

    Three hexadecimal digits spread prompts evenly over some hundred replicas, and so many prompts share them that none
    can be recognised by them.
    """
    first = items[0].prompt
    if any(item.prompt != first for item in items[1:]):
        return None
    turns = [("user", first)] if isinstance(first, str) else [(turn.role, turn.content) for turn in first]
    key = hashlib.sha256((token or "").encode()).digest()
    text = json.dumps(turns).encode()
    return hashlib.blake2b(text, key=key, digest_size=8, person=b"rubricd-affinity").hexdigest()[:_DIGITS]


def traced(headers: Mapping[str, str]) -> dict[str, str]:
    """These headers and those of the current span, where there is one: it becomes the parent of the service's span."""
    carrier = dict(headers)
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carrier)
    return carrier
