"""Traces as a collector gets them: which spans, whose children, saying what; and what they cost a request."""

import asyncio
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from service import otlp
from service.admission.team import ANYONE
from service.app import create_app
from service.engine.base import Outcome, Prompt
from service.engine.fake import FakeEngine
from service.errors import ConfigurationError
from service.settings import Settings
from service.tracing import UNTRACED
from tests.apps import app_of, fake_settings, item, serving
from tests.collector import Collector, Seen

CALLER, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "CANARY-7F3A"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def traced(collector: Collector, **changes: Any) -> Settings:
    return fake_settings(otlp_endpoint=collector.url, canary_every_s=0, **changes)


def parent(sampled: bool = True) -> dict[str, str]:
    return {"traceparent": f"00-{CALLER}-{SPAN}-{int(sampled):02x}"}


async def ask(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **changes: Any) -> None:
    answer = await client.post("/v1/score", json={"items": [item(**changes)]}, headers=headers)
    assert answer.status_code == 200, answer.text


def one(spans: Sequence[Seen], name: str) -> Seen:
    [found] = [span for span in spans if span.name == name]
    return found


def criteria(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"text": f"Criterion {n}.", "points": 1, **changes} for n in range(count)]


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
    told = request.attributes
    assert (told["http.route"], told["http.request.method"], told["http.response.status_code"]) == (
        "/v1/score",
        "POST",
        200,
    )
    assert (told["rubricd.team"], told["rubricd.items"], told["rubricd.judgements"]) == (ANYONE.name, 1, 3)
    assert told["rubricd.cache_hits"] == 0 and told["rubricd.tokens"] > 3
    assert one(spans, "rules").attributes == {"rubricd.checks": 1}
    assert one(spans, "cache").attributes == {
        "rubricd.questions": 3,
        "rubricd.hits": 0,
        "rubricd.elsewhere": 0,
    }
    engine = one(spans, "engine")
    assert engine.attributes["rubricd.questions"] == 3 and engine.attributes["rubricd.batches"] == len(engine.events)
    assert not any(span.failed for span in spans)


async def test_spans_follow_each_other_as_the_work_did(collector: Collector) -> None:
    async with serving(settings=traced(collector)) as client:
        await ask(client)
    spans = collector.spans()
    request, render, queue, engine = (one(spans, name) for name in ("POST /v1/score", "render", "queue", "engine"))
    assert request.began <= render.began < render.ended <= queue.began <= engine.began
    assert queue.ended <= engine.ended <= request.ended
    assert [span.name for span in spans if span.name == "cache"] == []


async def test_what_is_known_has_neither_queue_nor_engine(collector: Collector) -> None:
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
    assert engine.events[0][1]["rubricd.batch_questions"] == 1


async def test_a_request_has_so_many_spans_and_no_more(collector: Collector) -> None:
    tracing = otlp.Otlp(collector.url, 1.0)
    trace = tracing.begin("POST", "/v1/score", "id", [])
    for _ in range(1000):
        with trace.span("render") as span:
            span.tell(questions=1)
        watch = trace.watch(1, 1)
        assert watch is not None
        watch.taken(1)
        watch.end()
    trace.end(200, None, {})
    await tracing.stop()
    assert len(collector.spans()) == 33


async def test_further_steps_of_a_question_are_of_its_engine_span(collector: Collector) -> None:
    async with serving(settings=traced(collector)) as client:
        answer = await client.post("/v1/score", json={"items": [item()], "mode": "reasoned"})
        assert answer.status_code == 200
    spans = collector.spans()
    assert Counter(span.name for span in spans)["queue"] == Counter(span.name for span in spans)["engine"] == 1
    assert one(spans, "engine").events[0][0] == "batch write"


class Gated(FakeEngine):
    """Answers nothing until the gate is open; `asked_once` is set by the first batch after the canary."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked_once = asyncio.Event()

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        if not self.gate.is_set():
            self.asked_once.set()
            await self.gate.wait()
        return await super().read_labels(prompts, label_ids)


async def queued(client: httpx.AsyncClient, questions: int) -> None:
    """So many wait for the engine."""
    scheduler = app_of(client).state.served.scorer()._scheduler
    async with asyncio.timeout(60):
        while scheduler._queued_tickets < questions:
            await asyncio.sleep(0.002)


async def leave(asking: asyncio.Task[None]) -> None:
    asking.cancel()
    await asyncio.wait({asking})


async def test_requests_of_one_batch_are_linked(collector: Collector) -> None:
    engine = Gated()
    async with serving(engine, settings=traced(collector, max_in_flight=1, max_batch_tokens=100_000)) as client:
        engine.gate.clear()
        first = asyncio.create_task(ask(client, prompt="first"))
        await engine.asked_once.wait()
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
        assert span.events[0][1]["rubricd.batch_questions"] == 4 and span.events[0][1]["rubricd.questions"] == 2


async def test_what_never_reaches_the_engine_was_in_the_queue_alone(collector: Collector) -> None:
    engine = Gated()
    async with serving(engine, settings=traced(collector, max_in_flight=1)) as client:
        engine.gate.clear()
        first = asyncio.create_task(ask(client, prompt="first"))
        await engine.asked_once.wait()
        second = asyncio.create_task(ask(client, parent()))
        await queued(client, 2)
        await leave(second)
        engine.gate.set()
        await first
    spans = [span for span in collector.spans() if span.trace == CALLER]
    assert [span.name for span in spans] == ["POST /v1/score", "render", "queue"]
    assert spans[0].attributes["http.response.status_code"] == 499


async def test_what_is_left_at_the_engine_is_over_with_its_request(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Gated()
    async with serving(engine, settings=traced(collector)) as client:
        engine.gate.clear()
        asking = asyncio.create_task(ask(client, parent()))
        await engine.asked_once.wait()
        await leave(asking)
        engine.gate.set()
        await ask(client, prompt="another")
    spans = [span for span in collector.spans() if span.trace == CALLER]
    assert [span.name for span in spans] == ["POST /v1/score", "render", "queue", "engine"]
    assert spans[-1].events == [] and spans[-1].attributes["rubricd.batches"] == 0
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


@pytest.mark.parametrize(
    ("sample", "headers", "expected"),
    [
        (0.0, {}, 0),
        (0.0, parent(sampled=True), 4),
        (1.0, parent(sampled=False), 0),
        (1.0, {"traceparent": f"00-{SECRET}-01"}, 4),
    ],
    ids=["nobody wants it", "the caller wants it", "the caller does not", "no trace that can be read"],
)
async def test_who_decides(collector: Collector, sample: float, headers: dict[str, str], expected: int) -> None:
    async with serving(settings=traced(collector, trace_sample=sample)) as client:
        await ask(client, headers)
    spans = collector.spans()
    assert len(spans) == expected
    assert all((span.trace == CALLER) == (headers == parent()) for span in spans)


async def test_what_is_not_sampled_costs_no_more_than_without_traces(collector: Collector) -> None:
    tracing = otlp.Otlp(collector.url, 0.0)
    assert tracing.begin("POST", "/v1/score", "id", []) is UNTRACED
    await tracing.stop()


async def test_what_supervisors_ask_is_not_traced(collector: Collector) -> None:
    async with serving(settings=traced(collector)) as client:
        for path in ("/healthz", "/readyz", "/metrics", "/v1/judge"):
            assert (await client.get(path)).status_code == 200
        await client.post("/nowhere", content=b"")
    assert [span.name for span in collector.spans()] == ["POST other"]


async def test_no_text_of_a_request_is_in_a_trace(collector: Collector) -> None:
    secrets = {"tracestate": f"a={SECRET}", "baggage": f"a={SECRET}", SECRET: SECRET, "user-agent": SECRET}
    rule = {"text": SECRET, "points": 1, "verifier": {"rule": "regex", "pattern": f"({SECRET}"}}
    rubric = [{"text": SECRET, "points": 1}, rule]
    async with serving(settings=traced(collector)) as client:
        body = {"items": [item(id=SECRET, prompt=SECRET, response=SECRET, reference=SECRET, rubric=rubric)]}
        for content in (body, {**body, SECRET: 1}, {"items": [item(prompt=SECRET)], "mode": "reasoned"}):
            await client.post(f"/v1/score?{SECRET}={SECRET}", json=content, headers=parent() | secrets)
        await client.post(f"/{SECRET}", json=body)
        await client.request(SECRET, "/v1/score")
    assert len(collector.spans()) >= 8
    assert SECRET.encode() not in b"".join(collector.bodies)


class Broken(FakeEngine):
    """Asks and fails in the words of the request."""

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        if self.calls:
            raise KeyError(SECRET)
        return await super().read_labels(prompts, label_ids)


async def test_failures_are_told_by_their_kind(collector: Collector) -> None:
    async with serving(Broken(), settings=traced(collector, cache_entries=0)) as client:
        await ask(client, parent())
        app_of(client).state.served.scorer = lambda: 1 / 0
        assert (await client.post("/v1/score", json={"items": [item()]})).status_code == 500
    spans = collector.spans()
    [broken] = [span for span in spans if span.attributes.get("http.response.status_code") == 500]
    assert broken.failed and broken.attributes["error.type"] == "500" and broken.events == []
    assert SECRET.encode() not in b"".join(collector.bodies)


async def test_what_cannot_be_rendered_is_a_failed_span(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyError(SECRET)

    async with serving(settings=traced(collector)) as client:
        monkeypatch.setattr("service.scoring.asking.prompts", fail)
        await client.post("/v1/score", json={"items": [item()]})
    render = one(collector.spans(), "render")
    assert render.failed and render.attributes["error.type"] == "KeyError"
    assert SECRET.encode() not in b"".join(collector.bodies)


@pytest.fixture
def small_queue(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    monkeypatch.setattr(otlp, "_FLUSH_S", 0.2)
    return 64 + 16


async def test_a_collector_that_never_answers_is_not_waited_for(collector: Collector, small_queue: int) -> None:
    collector.answering.clear()
    async with serving(settings=traced(collector)) as client:
        await asyncio.gather(*(ask(client, prompt=f"prompt {n}") for n in range(50)))
        async with asyncio.timeout(20):
            while not collector.bodies:
                await asyncio.sleep(0.002)
        ending = time.monotonic()
    assert time.monotonic() - ending < 8.0
    assert 0 < len(collector.spans()) <= small_queue < 50 * 4


async def test_a_collector_that_is_not_there_changes_no_answer(small_queue: int) -> None:
    with socket.socket() as taken:  # bound, not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with serving(settings=fake_settings(otlp_endpoint=nowhere, canary_every_s=0)) as client:
            await asyncio.gather(*(ask(client, prompt=f"prompt {n}") for n in range(50)))
            ending = time.monotonic()
        assert time.monotonic() - ending < 8.0


def test_without_traces_opentelemetry_is_not_imported() -> None:
    """Redis's client imports its part for metrics, where it is installed."""
    code = """if True:
        import sys, threading
        import trainer_client.client
        from trainer_client.tracing import traced
        assert traced({"a": "b"}) == {"a": "b"}
        assert not [name for name in sys.modules if name.startswith("opentelemetry")]
        from service.app import create_app
        from service.settings import Settings
        create_app(Settings(engine="fake"))
        ours = ("service.otlp", "opentelemetry.exporter", "opentelemetry.proto", "opentelemetry.sdk.trace.export")
        assert not [name for name in sys.modules if name.startswith(ours)]
        assert threading.active_count() == 1
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_without_opentelemetry_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "service.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError, match=r"rubricd\[tracing\]"):
        create_app(fake_settings(otlp_endpoint="http://127.0.0.1:1"))
