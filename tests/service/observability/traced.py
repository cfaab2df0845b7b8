"""Requests to an app that sends its traces to a collector of the tests."""

from collections.abc import Sequence
from typing import Any

import httpx

from service.settings import Settings
from testkit.apps import fake_settings, item
from testkit.trace_collector import Collector, ReceivedSpan

CALLER, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def traced(collector: Collector, **changes: Any) -> Settings:
    return fake_settings(otlp_endpoint=collector.url, canary_every_s=0, **changes)


def parent(sampled: bool = True) -> dict[str, str]:
    return {"traceparent": f"00-{CALLER}-{SPAN}-{int(sampled):02x}"}


async def ask(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **changes: Any) -> None:
    answer = await client.post("/v1/score", json={"items": [item(**changes)]}, headers=headers)
    assert answer.status_code == 200, answer.text


def one(spans: Sequence[ReceivedSpan], name: str) -> ReceivedSpan:
    [found] = [span for span in spans if span.name == name]
    return found


def criteria(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"text": f"Criterion {n}.", "points": 1, **changes} for n in range(count)]
