"""Traces as a collector gets them: the spans, their parents and their attributes."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import httpx
import pytest

from service.engine.base import Outcome, Prompt
from service.engine.fake import FakeEngine
from service.observability import otlp
from service.tenancy.team import DEFAULT_TEAM
from testkit.apps import item, scorer_of, serving
from testkit.trace_collector import Collector
from testkit.waiting import HUNG_S
from tests.service.observability.traced import CALLER, SPAN, ask, criteria, one, parent, traced


async def test_a_request_is_a_tree_under_its_callers_span(collector: Collector, redis_url: str) -> None:
    rule = {"text": "Is short.", "points": 1, "verifier": {"rule": "length", "max": 100, "unit": "characters"}}
    async with serving(settings=traced(collector, redis_url=redis_url)) as client:
        await ask(client, parent(), rubric=[*criteria(3), rule])
    spans = collector.spans()
    request = one(spans, "POST /v1/score")
    assert (request.trace, request.parent, request.service, request.kind) == (CALLER, SPAN, "rubricd", 2)
    assert {span.parent for span in spans if span is not request} == {request.id}
    assert {span.trace for span in spans} == {CALLER}
    assert Counter(span.name for span in spans) == Counter(
        ["POST /v1/score", "rules", "cache", "render", "queue", "engine"]
    )
    attributes = request.attributes
    assert (attributes["http.route"], attributes["http.request.method"], attributes["http.response.status_code"]) == (
        "/v1/score",
        "POST",
        200,
    )
    assert (attributes["rubricd.team"], attributes["rubricd.items"], attributes["rubricd.judgements"]) == (
        DEFAULT_TEAM.name,
        1,
        3,
    )
    assert attributes["rubricd.cache_hits"] == 0 and attributes["rubricd.tokens"] > 3
    assert one(spans, "rules").attributes == {"rubricd.checks": 1}
    assert one(spans, "cache").attributes == {
        "rubricd.queries": 3,
        "rubricd.hits": 0,
        "rubricd.elsewhere": 0,
    }
    engine = one(spans, "engine")
    assert engine.attributes["rubricd.queries"] == 3 and engine.attributes["rubricd.batches"] == len(engine.events)
    assert not any(span.failed for span in spans)


async def test_spans_are_in_the_order_of_the_work(collector: Collector) -> None:
    async with serving(settings=traced(collector)) as client:
        await ask(client)
    spans = collector.spans()
    request, render, queue, engine = (one(spans, name) for name in ("POST /v1/score", "render", "queue", "engine"))
    assert request.began <= render.began < render.ended <= queue.began <= engine.began
    assert queue.ended <= engine.ended <= request.ended
    assert [span.name for span in spans if span.name == "cache"] == []


async def test_a_cached_request_has_no_queue_or_engine_span(collector: Collector) -> None:
    async with serving(settings=traced(collector)) as client:
        await ask(client)
        await ask(client, parent())
    again = [span for span in collector.spans() if span.trace == CALLER]
    assert [span.name for span in again] == ["POST /v1/score"]
    assert again[0].attributes["rubricd.cache_hits"] == 2


async def test_spans_do_not_grow_with_criteria(collector: Collector) -> None:
    async with serving(settings=traced(collector, max_batch_tokens=1)) as client:
        await ask(client, rubric=criteria(2))
        await ask(client, parent(), rubric=criteria(100))
    by_trace = Counter(span.trace for span in collector.spans())
    assert set(by_trace.values()) == {4}
    engine = one([span for span in collector.spans() if span.trace == CALLER], "engine")
    assert engine.attributes["rubricd.batches"] == 98
    assert len(engine.events) == 32
    assert engine.events[0][1]["rubricd.batch_queries"] == 1


async def test_the_spans_of_a_request_are_bounded(collector: Collector) -> None:
    tracing = otlp.Otlp(collector.url, 1.0)
    trace = tracing.begin("POST", "/v1/score", "id", [])
    for _ in range(1000):
        with trace.span("render") as span:
            span.set(queries=1)
        watch = trace.watch(1, 1)
        assert watch is not None
        watch.start(1)
        watch.end()
    trace.end(200, None, {})
    await tracing.stop()
    assert len(collector.spans()) == 33


async def test_the_next_steps_of_a_query_belong_to_its_engine_span(collector: Collector) -> None:
    async with serving(settings=traced(collector)) as client:
        answer = await client.post("/v1/score", json={"items": [item()], "mode": "reasoned"})
        assert answer.status_code == 200
    spans = collector.spans()
    assert Counter(span.name for span in spans)["queue"] == Counter(span.name for span in spans)["engine"] == 1
    assert one(spans, "engine").events[0][0] == "batch generation"


class Gated(FakeEngine):
    """Returns nothing while the gate is closed; `called` is set by the first batch after it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.called = asyncio.Event()

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        if not self.gate.is_set():
            self.called.set()
            await self.gate.wait()
        return await super().read_labels(prompts, label_ids)


async def queued(client: httpx.AsyncClient, queries: int) -> None:
    """Waits until this many queries are in the queue."""
    scheduler = scorer_of(client)._scheduler
    async with asyncio.timeout(HUNG_S):
        while scheduler.queued_tickets < queries:
            await asyncio.sleep(0.002)


async def disconnect(request: asyncio.Task[None]) -> None:
    request.cancel()
    await asyncio.wait({request})


async def test_requests_of_one_batch_are_linked(collector: Collector) -> None:
    engine = Gated()
    async with serving(engine, settings=traced(collector, max_in_flight=1, max_batch_tokens=100_000)) as client:
        engine.gate.clear()
        first = asyncio.create_task(ask(client, prompt="first"))
        await engine.called.wait()
        others = [asyncio.create_task(ask(client, parent(), prompt=prompt)) for prompt in ("second", "third")]
        await queued(client, 4)
        engine.gate.set()
        await asyncio.gather(first, *others)
    spans = collector.spans()
    requests = {span.id for span in spans if span.name == "POST /v1/score" and span.trace == CALLER}
    engines = [span for span in spans if span.name == "engine"]
    alone, *together = sorted(engines, key=lambda span: len(span.links))
    assert alone.links == [] and len(together) == 2
    for span in together:
        assert span.links == [other for other in requests if other != span.parent]
        assert span.events[0][1]["rubricd.batch_queries"] == 4 and span.events[0][1]["rubricd.queries"] == 2


async def test_a_query_that_never_reaches_the_engine_has_a_queue_span_only(collector: Collector) -> None:
    engine = Gated()
    async with serving(engine, settings=traced(collector, max_in_flight=1)) as client:
        engine.gate.clear()
        first = asyncio.create_task(ask(client, prompt="first"))
        await engine.called.wait()
        second = asyncio.create_task(ask(client, parent()))
        await queued(client, 2)
        await disconnect(second)
        engine.gate.set()
        await first
    spans = [span for span in collector.spans() if span.trace == CALLER]
    assert [span.name for span in spans] == ["POST /v1/score", "render", "queue"]
    assert spans[0].attributes["http.response.status_code"] == 499


async def test_a_query_left_at_the_engine_ends_with_its_request(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Gated()
    async with serving(engine, settings=traced(collector)) as client:
        engine.gate.clear()
        asking = asyncio.create_task(ask(client, parent()))
        await engine.called.wait()
        await disconnect(asking)
        engine.gate.set()
        await ask(client, prompt="another")
    spans = [span for span in collector.spans() if span.trace == CALLER]
    assert [span.name for span in spans] == ["POST /v1/score", "render", "queue", "engine"]
    assert spans[-1].events == [] and spans[-1].attributes["rubricd.batches"] == 0
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]
