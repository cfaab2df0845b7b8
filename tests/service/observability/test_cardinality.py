"""Whatever the world sends, a page stays small: labels are from closed sets."""

import random
import re
import string
import time
from pathlib import Path
from typing import Any

import httpx

from service.engine.fake import FakeEngine, FaultPlan
from testkit.apps import fake_settings, item, serving
from testkit.metrics_page import page_of
from testkit.teams_file import auth, team, write

SERIES, BYTES = 500, 1_000_000


def word(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_letters + string.digits, k=rng.randint(1, 43)))


def series(text: str) -> int:
    """Of this service: where a vLLM runs in this process, its own are on the page, too."""
    return sum(1 for line in text.splitlines() if line and not line.startswith(("#", "vllm:")))


async def everything(client: httpx.AsyncClient, name: str, responses: int = 3) -> None:
    """One team uses every mode, class and route that judges."""
    rubric = item()["rubric"]
    for priority in ("interactive", "train", "eval"):
        for mode in ("verdict", "reasoned", "implicit", "likert"):
            one: dict[str, Any] = item() | {"responses": [f"{name} {mode} {priority} {n}" for n in range(responses)]}
            del one["response"]
            if mode == "likert":
                del one["rubric"]
            body = {"items": [one], "mode": mode, "priority": priority, "min_coverage": 0.0}
            await client.post("/v1/score", json=body, headers=auth(name))
    for path in ("/score", "/v1/rubric/score"):
        await client.post(path, json={"items": [item()]}, headers=auth(name))
    label = {"rubric": rubric}
    await client.post("/rm", json={"prompt": "p", "response": name, "label": label}, headers=auth(name))
    get_reward = {"query": ["p q"], "prompts": ["p "], "labels": [label]}
    await client.post("/get_reward", json=get_reward, headers=auth(name))
    for path in ("/evaluate", "/verify", "/v1/decisions", "/v1/rubrics/lint"):
        await client.post(path, json={}, headers=auth(name))
    for path in ("/healthz", "/readyz", "/v1/judge", "/", "/openapi.json", "/metrics"):
        await client.get(path, headers=auth(name))


async def test_10000_random_teams_paths_and_models_add_nothing(tmp_path: Path) -> None:
    rng = random.Random(10)
    rates: dict[Any, float] = {"some": 0.1, "nan": 0.1, "low_mass": 0.1, "garbage": 0.1, "truncated": 0.1}
    engine = FakeEngine(plan=FaultPlan(script=("ok",), rates=rates))
    quota = {"tokens_per_minute": 100_000, "concurrent_tokens": 50_000, "requests_per_minute": 20}
    teams = write(tmp_path / "teams.json", *(team(name, quota=quota) for name in ("a", "b", "c")))
    async with serving(engine, settings=fake_settings(teams=teams)) as client:
        for name in ("a", "b", "c"):
            await everything(client, name)
        before = await page_of(client)
        for _ in range(10_000):
            path, model = word(rng), word(rng)
            headers = {"Authorization": f"Bearer rbd_{word(rng):x<43}"[:51], "X-Team": word(rng)}
            choice = rng.randrange(3)
            if choice == 0:
                await client.get(f"/{path}", headers=headers)
            elif choice == 1:
                await client.post("/v1/score", json={"model": model, "items": []}, headers=headers)
            else:
                await client.post("/v1/decisions", json={"model": model}, headers=auth(rng.choice("abc")))
        started = time.perf_counter()
        page = await page_of(client)
        scrape_s = time.perf_counter() - started
    print(f"{series(before.text)} series, then {series(page.text)}; {len(page.text)} bytes; read in {scrape_s:.3f} s")
    assert series(page.text) <= SERIES
    assert len(page.text) < BYTES
    labels = set(re.findall(r'(?:team|route)="([^"]*)"', page.text))
    assert labels <= {"a", "b", "c", "other", "_service"} | {name for name in labels if name.startswith("/")}
    assert page("rubricd_requests_total", route="other") > 3000


async def test_2000_teams_in_the_file_are_bounded_too(tmp_path: Path) -> None:
    names = [f"team-{n}" for n in range(2_000)]
    teams = write(tmp_path / "teams.json", *(team(name, quota={"requests_per_minute": 9}) for name in names))
    settings = fake_settings(teams=teams, metric_teams=10, canary_every_s=0)
    async with serving(settings=settings) as client:
        for name in names[::20]:
            await client.post("/v1/score", json={"items": [item(response=name)]}, headers=auth(name))
        page = await page_of(client)
    assert page("rubricd_items_total") == 100
    assert page("rubricd_items_total", team="other") == 90
    assert page("rubricd_quota_limit", team="other") == 9 * (2_000 - 10)
    assert series(page.text) <= SERIES
    assert len(page.text) < BYTES
