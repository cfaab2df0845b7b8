"""The live view behind Ray Serve: a stream is of one replica from its first event to its last, and says of which."""

import json
from typing import Any

import httpx

from testkit.ray.nodes import Nodes
from testkit.waiting import HUNG_S

STREAMS, EVENTS = 8, 2


def _events(url: str) -> list[dict[str, Any]]:
    """The first events of a stream, each as it comes: a proxy that holds them back gives none in time."""
    found: list[dict[str, Any]] = []
    with httpx.stream("GET", f"{url}/v1/live", timeout=HUNG_S) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
            if len(found) == EVENTS:
                return found
    return found


def test_a_stream_is_of_one_replica(three: Nodes) -> None:
    seen = set()
    for _ in range(STREAMS):
        first, second = _events(three.url)
        assert first["instance"] == second["instance"] and second["at_s"] > first["at_s"]
        assert first["state"] == "ready" and "rubricd_judge_info" in first["metrics"]
        seen.add((first["instance"], first["host"], first["process"]))
    assert len({instance for instance, _, _ in seen}) == len(seen) <= 3
    page = httpx.get(f"{three.url}/live", timeout=HUNG_S)
    assert page.status_code == 200 and "rubricd live" in page.text
