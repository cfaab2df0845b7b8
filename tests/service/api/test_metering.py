"""Every route that does work for a caller is charged to its quota of requests, a large body more than once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.clock import ManualClock
from testkit.apps import fake_settings, item, serving
from testkit.teams_file import auth, team, write
from tests.service.api.protocols.bodies import JUDGING

LINT = {"rubric": [{"text": "Rests.", "points": 1}]}
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/v1/judge", None),
    ("GET", "/v1/usage", None),
    ("POST", "/v1/rubrics/lint", LINT),
    ("POST", "/v1/rubrics/read", {"text": "1 Rests."}),
    ("POST", "/v1/rubrics/fix", LINT),
    ("POST", "/v1/score", {"items": [item()]}),
    ("POST", "/seed_session", {}),
    *(("POST", path, body()) for path, body in JUDGING.items()),
]


def quota(tmp_path: Path, requests: int) -> Any:
    return fake_settings(teams=write(tmp_path / "teams.json", team("a", quota={"requests_per_minute": requests})))


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=[path for _, path, _ in ROUTES])
async def test_every_route_that_needs_a_key_is_charged(tmp_path: Path, method: str, path: str, body: Any) -> None:
    async with serving(settings=quota(tmp_path, 2), clock=ManualClock()) as client:
        answers = [await client.request(method, path, json=body, headers=auth("a")) for _ in range(3)]
        page = (await client.get("/metrics")).text
    assert [one.status_code for one in answers[:2]] == [200, 200]
    assert answers[2].status_code == (200 if path == "/verify" else 429)
    assert "quota" in answers[2].text
    assert 'rubricd_quota_requests_total{team="a"} 2.0' in page
    assert 'rubricd_refusals_total{code="quota_exceeded",team="a"} 1.0' in page


async def _in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


@pytest.mark.parametrize("declared", [True, False])
async def test_each_started_mib_of_a_body_counts_as_a_request(tmp_path: Path, declared: bool) -> None:
    large = b" " * 3_500_000
    async with serving(settings=quota(tmp_path, 6), clock=ManualClock()) as client:

        async def send() -> httpx.Response:
            content = large if declared else _in_pieces(large)
            return await client.post("/v1/rubrics/lint", content=content, headers=auth("a"))

        first, second = await send(), await send()
        page = (await client.get("/metrics")).text
    assert (first.status_code, second.status_code) == (422, 429)
    assert f'rubricd_quota_requests_total{{team="a"}} {4 if declared else 5}.0' in page


async def test_a_body_of_more_than_the_quota_uses_it_up_and_is_not_refused_for_ever(tmp_path: Path) -> None:
    async with serving(settings=quota(tmp_path, 2), clock=ManualClock()) as client:
        first = await client.post("/v1/rubrics/lint", content=b" " * 5_000_000, headers=auth("a"))
        second = await client.post("/v1/rubrics/lint", json=LINT, headers=auth("a"))
    assert (first.status_code, second.status_code) == (422, 429)
