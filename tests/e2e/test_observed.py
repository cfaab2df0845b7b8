"""One trace over two processes, and the log beside it: as a collector and a log's reader get them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from testkit.apps import item
from testkit.processes import service
from testkit.trace_collector import Collector
from testkit.waiting import HUNG_S
from trainer_client.client import JudgeClient

FLAGS = ("--engine", "fake", "--log-format", "json")


def job(collector: Collector) -> TracerProvider:
    """A training job that traces itself."""
    provider = TracerProvider(resource=Resource.create({"service.name": "job"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces")))
    return provider


async def test_a_jobs_step_and_its_judging_are_one_trace(tmp_path: Path) -> None:
    err = tmp_path / "stderr"
    with Collector() as collector:
        provider = job(collector)
        with service(*FLAGS, "--otlp-endpoint", collector.url, log=err) as running:
            async with JudgeClient(running.url) as judge:
                with provider.get_tracer("job").start_as_current_span("step"):
                    await judge.score([item()])
                    [_ async for _ in judge.stream([item(response="Run.")])]
            async with httpx.AsyncClient(timeout=HUNG_S) as other:
                await other.post(f"{running.url}/v1/score", content=b"{")
            running.process.terminate()  # what was not sent yet is sent before the end
            assert running.process.wait(timeout=HUNG_S) == 0
        provider.shutdown()
        spans = collector.spans()
    [step] = [span for span in spans if span.service == "job"]
    requests = [span for span in spans if span.name == "POST /v1/score" and span.trace == step.trace]
    assert [span.parent for span in requests] == [step.id] * 2
    for request in requests:
        children = [span.name for span in spans if span.parent == request.id]
        assert Counter(children) == Counter(["render", "queue", "engine"])
        # It may end later: the last line of an answer is read before the service has ended its span.
        assert step.began <= request.began <= step.ended
    others = [span for span in spans if span.trace != step.trace]
    assert [span.attributes["http.response.status_code"] for span in others] == [422]
    written, end, _ = err.read_text().partition('"message": "stopped"')  # C libraries may have a word after it
    assert end and "draining" in written
    lines = [json.loads(line) for line in written.splitlines()[:-1]]
    _check_log([line for line in lines if line["logger"] == "rubricd.access"], step.trace, requests)
    assert {"rubricd", "rubricd.access", "service.judge_loading"} <= {line["logger"] for line in lines}


def _check_log(access: list[dict[str, Any]], trace: str, requests: list[Any]) -> None:
    """One line a request, with the trace's id and the request's id in both."""
    judged = [line for line in access if line.get("trace_id") == trace]
    assert [line["request_id"] for line in judged] == [span.attributes["rubricd.request_id"] for span in requests]
    assert [(line["status"], line["items"], line["judgements"]) for line in judged] == [(200, 1, 2)] * 2
    assert len({line["request_id"] for line in access}) == len(access)
    assert all("trace_id" not in line for line in access if line["method"] == "GET")
