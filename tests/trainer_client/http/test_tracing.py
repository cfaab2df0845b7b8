"""The span that is current where the client is called goes with every request, and nothing else does."""

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from testkit.scripted_judge import Service, answered, items, scores
from tests.trainer_client.http.streaming import all_of, judging, lines, streamed
from trainer_client.http.tracing import traced

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
PARENT = f"00-{TRACE:032x}-{SPAN:016x}-01"


def span(state: TraceState | None = None) -> Any:
    return trace.use_span(NonRecordingSpan(SpanContext(TRACE, SPAN, False, TraceFlags(1), state)))


@pytest.mark.parametrize("stream", [False, True])
async def test_every_request_names_the_span_it_is_asked_in(stream: bool) -> None:
    service = Service(lambda body: streamed(lines(scores(body))) if stream else answered(scores(body)))
    async with judging(service, batch_items=2) as client:
        with span():
            await (all_of(client, items(4)) if stream else client.score(items(4)))
        inside = [request.headers.get("traceparent") for request in service.requests]
        await (all_of(client, items(4)) if stream else client.score(items(4)))
    assert len(inside) >= 2 and set(inside) == {PARENT}
    assert {request.headers.get("traceparent") for request in service.requests[len(inside) :]} == {None}


def test_headers_are_kept_and_the_callers_are_not_written_into() -> None:
    headers = {"accept": "x"}
    with span(TraceState([("vendor", "1")])):
        assert traced(headers) == {"accept": "x", "traceparent": PARENT, "tracestate": "vendor=1"}
    assert traced(headers) == headers == {"accept": "x"}
