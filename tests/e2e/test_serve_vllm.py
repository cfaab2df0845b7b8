"""The service over a real vLLM: the verdicts of the other engine, every judging mode, and a killed engine survived."""

import os
import signal
from typing import Any

import httpx
import psutil
import pytest

from miniature.world.cases import evaluation
from testkit.metrics_page import Page
from testkit.processes import Running, runs, service
from testkit.waiting import HUNG_S, START_S, wait_until
from trainer_client.wire import ScoreResponse


def scored(url: str, **changes: Any) -> ScoreResponse:
    items = [evaluation(31, n).wire for n in range(8)]
    answer = httpx.post(f"{url}/v1/score", json={"items": items, **changes}, timeout=HUNG_S)
    assert answer.status_code == 200, answer.text
    return ScoreResponse.model_validate_json(answer.content)


def chances(answer: ScoreResponse) -> list[float]:
    found = [criterion.p for result in answer.results for criterion in result.criteria]
    assert None not in found
    return [p for p in found if p is not None]


def test_vllm_in_the_service(bundled: Running) -> None:
    truth = chances(scored(bundled.url))
    with service("--engine", "vllm", "--vllm-kv-cache-gb", "1", "--cache-entries", "0") as running:
        first = scored(running.url)
        assert chances(first) == pytest.approx(truth, abs=1e-3)
        assert first.judge.engine == "vllm"
        assert first.judge.toy and truth
        assert scored(running.url, mode="likert").results[0].criteria[0].label_mass is not None

        page = Page(httpx.get(f"{running.url}/metrics", timeout=HUNG_S).text)
        asked = page("rubricd_batch_queries_sum")
        assert page("vllm:request_success_total") >= asked > 0
        computed, shared = (page("rubricd_prompt_tokens_total", source=kind) for kind in ("computed", "shared"))
        assert page("vllm:prefix_cache_queries_total") >= computed + shared > page("vllm:prefix_cache_hits_total") > 0
        assert not [
            sample.name for sample in page.samples if not sample.name.startswith(("rubricd_", "vllm:", "process_"))
        ]
        assert page("rubricd_engine_restarts_total") == 0

        def ready() -> bool:
            return httpx.get(f"{running.url}/readyz", timeout=HUNG_S).status_code == 200

        below = psutil.Process(running.process.pid).children(recursive=True)
        core = next(child for child in below if "EngineCore" in " ".join(child.cmdline()))
        os.kill(core.pid, signal.SIGKILL)
        wait_until(lambda: not ready())
        refused = httpx.post(f"{running.url}/v1/score", json={"items": [evaluation(31, 0).wire]}, timeout=HUNG_S)
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        assert httpx.get(f"{running.url}/healthz", timeout=HUNG_S).status_code == 200
        wait_until(ready, START_S)
        again = scored(running.url)
        assert again.judge.fingerprint == first.judge.fingerprint
        assert chances(again) == pytest.approx(truth, abs=1e-3)
        page = Page(httpx.get(f"{running.url}/metrics", timeout=HUNG_S).text)
        assert page("rubricd_engine_restarts_total") == 1
        assert page("vllm:request_success_total") >= len(chances(again))
    wait_until(lambda: not any(runs(child.pid) for child in below))
