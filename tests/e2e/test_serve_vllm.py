"""The service over a real vLLM: the verdicts of the other engine, every way of asking, and a killed engine survived."""

import os
import signal
import time
from typing import Any

import httpx
import psutil
import pytest

from miniature.cases import evaluation
from tests.e2e.processes import Running, service
from trainer_client.wire import ScoreResponse

pytestmark = pytest.mark.timeout(480)


def scored(url: str, **changes: Any) -> ScoreResponse:
    items = [evaluation(31, n).wire for n in range(8)]
    answer = httpx.post(f"{url}/v1/score", json={"items": items, **changes}, timeout=120)
    assert answer.status_code == 200, answer.text
    return ScoreResponse.model_validate_json(answer.content)


def chances(answer: ScoreResponse) -> list[float]:
    found = [criterion.p for result in answer.results for criterion in result.criteria]
    assert None not in found
    return [p for p in found if p is not None]


def until(condition: Any, seconds: float) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        time.sleep(0.02)
    return time.monotonic() - started


def test_vllm_in_the_service(bundled: Running) -> None:
    truth = chances(scored(bundled.url))
    with service("--engine", "vllm", "--vllm-kv-cache-gb", "1", "--cache-entries", "0") as running:
        first = scored(running.url)
        assert chances(first) == pytest.approx(truth, abs=1e-3)
        assert first.judge.engine == "vllm"
        written = scored(running.url, mode="reasoned")
        assert {c.status for r in written.results for c in r.criteria} <= {"ok", "unparseable"}
        assert scored(running.url, mode="likert").results[0].criteria[0].label_mass is not None

        def ready() -> bool:
            return httpx.get(f"{running.url}/readyz", timeout=10).status_code == 200

        below = psutil.Process(running.process.pid).children(recursive=True)
        core = next(child for child in below if "EngineCore" in " ".join(child.cmdline()))
        os.kill(core.pid, signal.SIGKILL)
        assert until(lambda: not ready(), 5.0) < 2.0
        refused = httpx.post(f"{running.url}/v1/score", json={"items": [evaluation(31, 0).wire]}, timeout=30)
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        assert httpx.get(f"{running.url}/healthz").status_code == 200
        until(ready, 240.0)
        again = scored(running.url)
        assert again.judge.fingerprint == first.judge.fingerprint
        assert chances(again) == pytest.approx(truth, abs=1e-3)
    assert not [child for child in below if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
