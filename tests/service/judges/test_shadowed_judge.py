"""A judge with a shadow answers as without one, byte for byte, whatever becomes of the shadow."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from service.app import lifecycle_of
from service.judges.shadowed_judge import Shadowed
from testkit.apps import app_of, fake_settings, item, serving
from testkit.metrics_page import page_of
from testkit.waiting import HUNG_S

FILE = """
judges:
  watched: {shadow: second, of: first, share: 0.5}
  first: {engine: fake}
  second: {engine: fake, prompt: bare}
"""


async def _results(client: httpx.AsyncClient, judge: str, n: int) -> Any:
    items = [item(response=f"Answer {n}-{each}.") for each in range(8)]
    answer = await client.post("/v1/score", json={"items": items, "judge": judge})
    assert answer.status_code == 200
    found = answer.json()
    return found["results"], found["judge"]["fingerprint"], found["usage"]["prompt_tokens"]


async def test_the_answers_are_those_of_the_judge_alone(tmp_path: Path) -> None:
    file = tmp_path / "judges.yaml"
    file.write_text(FILE, encoding="utf-8")
    async with (
        serving(settings=fake_settings(judges=file)) as watched,
        serving(settings=fake_settings(judges=file)) as alone,
    ):
        for n in range(10):
            assert await _results(watched, "watched", n) == await _results(alone, "first", n)
        page = await page_of(watched)
        async with asyncio.timeout(HUNG_S):
            while page("rubricd_shadow_difference_count", shadow="second") < 60:
                await asyncio.sleep(0.005)
                page = await page_of(watched)
        info = (await watched.get("/v1/judge")).json()
    assert 60 <= page("rubricd_shadow_difference_count", shadow="second") <= 100, "half of 80 responses"
    assert (info["name"], info["deployed"][0]["kind"]) == ("watched", "shadow")
    assert info["deployed"][0]["rule"] == {"shadow": "second", "share": "0.5"}


async def test_a_dead_shadow_is_counted_and_costs_no_answer(tmp_path: Path) -> None:
    file = tmp_path / "judges.yaml"
    file.write_text(FILE, encoding="utf-8")
    async with serving(settings=fake_settings(judges=file)) as client:
        judges = lifecycle_of(app_of(client)).judge()
        watched = judges.deployed["watched"].judge
        assert isinstance(watched, Shadowed)
        await judges.deployed["second"].judge.drain(0.0)  # type: ignore[attr-defined]
        assert (await client.get("/readyz")).status_code == 200
        for n in range(10):
            results, _, _ = await _results(client, "watched", n)
            assert {one["status"] for one in results} == {"ok"}
        page = await page_of(client)
        async with asyncio.timeout(HUNG_S):
            while page("rubricd_shadow_dropped_total", shadow="second", reason="unavailable") <= 30:
                await asyncio.sleep(0.005)
                page = await page_of(client)
