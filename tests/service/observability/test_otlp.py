"""Sampling, redaction and the collector: what is traced, and that no request waits for the collector."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from service.app import create_app
from service.engine.base import Outcome, Prompt
from service.engine.fake import FakeEngine
from service.errors import ConfigurationError
from service.observability import otlp
from service.observability.tracing import UNTRACED
from testkit.apps import app_of, fake_settings, item, serving
from testkit.trace_collector import Collector
from testkit.waiting import HUNG_S
from tests.service.observability.traced import CALLER, ask, one, parent, traced

SECRET = "CANARY-7F3A"


@pytest.mark.parametrize(
    ("sample", "headers", "expected"),
    [
        (0.0, {}, 0),
        (0.0, parent(sampled=True), 4),
        (1.0, parent(sampled=False), 0),
        (1.0, {"traceparent": f"00-{SECRET}-01"}, 4),
    ],
    ids=["not sampled", "sampled by the caller", "not sampled by the caller", "invalid traceparent"],
)
async def test_the_caller_or_the_sample_decides(
    collector: Collector, sample: float, headers: dict[str, str], expected: int
) -> None:
    async with serving(settings=traced(collector, trace_sample=sample)) as client:
        await ask(client, headers)
    spans = collector.spans()
    assert len(spans) == expected
    assert all((span.trace == CALLER) == (headers == parent()) for span in spans)


async def test_a_request_that_is_not_sampled_is_untraced(collector: Collector) -> None:
    tracing = otlp.Otlp(collector.url, 0.0)
    assert tracing.begin("POST", "/v1/score", "id", []) is UNTRACED
    await tracing.stop()


async def test_health_checks_and_scrapes_are_not_traced(collector: Collector) -> None:
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
    """Fails with a message that quotes the request."""

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        if self.calls:
            raise KeyError(SECRET)
        return await super().read_labels(prompts, label_ids)


async def test_failures_have_an_error_type_and_no_message(collector: Collector) -> None:
    async with serving(Broken(), settings=traced(collector, cache_entries=0)) as client:
        await ask(client, parent())
        app_of(client).state.lifecycle.judge = lambda: 1 / 0
        assert (await client.post("/v1/score", json={"items": [item()]})).status_code == 500
    spans = collector.spans()
    [broken] = [span for span in spans if span.attributes.get("http.response.status_code") == 500]
    assert broken.failed and broken.attributes["error.type"] == "500" and broken.events == []
    assert SECRET.encode() not in b"".join(collector.bodies)


async def test_a_failed_rendering_is_a_failed_span(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyError(SECRET)

    async with serving(settings=traced(collector)) as client:
        monkeypatch.setattr("service.scoring.prompt_work.render_prompts", fail)
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


async def test_a_collector_that_never_answers_is_not_waited_for(
    collector: Collector, small_queue: int, caplog: pytest.LogCaptureFixture
) -> None:
    collector.answering.clear()
    async with serving(settings=traced(collector)) as client:
        await asyncio.gather(*(ask(client, prompt=f"prompt {n}") for n in range(50)))
        async with asyncio.timeout(HUNG_S):
            while not collector.bodies:
                await asyncio.sleep(0.002)
    assert "traces were not sent within 0.2 s and are dropped" in caplog.text
    assert 0 < len(collector.spans()) <= small_queue < 50 * 4


async def test_an_unavailable_collector_changes_no_response(small_queue: int) -> None:
    with socket.socket() as taken:  # bound, not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with serving(settings=fake_settings(otlp_endpoint=nowhere, canary_every_s=0)) as client:
            await asyncio.gather(*(ask(client, prompt=f"prompt {n}") for n in range(50)))


def test_without_an_endpoint_no_sdk_or_exporter_is_imported_and_no_thread_started() -> None:
    """The client imports no part of OpenTelemetry; of the SDK, Redis's client imports metrics where it is installed."""
    code = """if True:
        import sys, threading
        import trainer_client.client
        from trainer_client.http.headers import traced
        assert traced({"a": "b"}) == {"a": "b"}
        assert not [name for name in sys.modules if name.startswith("opentelemetry")]
        from service.app import create_app
        from service.settings import Settings
        create_app(Settings(engine="fake"))
        exported = ("opentelemetry.exporter", "opentelemetry.proto", "opentelemetry.sdk.trace")
        ours = ("service.observability.otlp", *exported)
        assert not [name for name in sys.modules if name.startswith(ours)]
        assert threading.active_count() == 1
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HUNG_S)


def test_without_the_sdk_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "service.observability.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError, match=r"rubricd\[tracing\]"):
        create_app(fake_settings(otlp_endpoint="http://127.0.0.1:1"))
