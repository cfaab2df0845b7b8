"""What a team's rule checks cost it, and that they cost nobody else anything, as callers see it."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx

from service.clock import ManualClock
from testkit.apps import fake_settings, serving
from testkit.teams_file import auth, team, write

PLAIN = {"items": [{"prompt": "q", "response": "b", "rubric": [{"text": "t", "points": 1}]}]}
SLOW = {"rule": "regex", "pattern": "(a|aa)+$"}


def checked(checks: int, verifier: dict[str, Any], response: str) -> dict[str, Any]:
    rubric = {"criteria": [{"text": "t", "points": 1, "verifier": verifier}]}
    return {"items": [{"prompt": "q", "responses": [f"{n} {response}" for n in range(checks)], "rubric": rubric}]}


async def ask(client: httpx.AsyncClient, name: str, body: dict[str, Any]) -> httpx.Response:
    return await client.post("/v1/score", json=body, headers=auth(name))


async def test_rule_seconds_are_a_quota_of_their_own(tmp_path: Path) -> None:
    clock = ManualClock()
    teams = write(tmp_path / "teams.json", team("a", quota={"rule_seconds_per_minute": 1}), team("b"))
    async with serving(clock=clock, settings=fake_settings(teams=teams, rule_workers=1, rule_timeout_s=2)) as client:
        first = await ask(client, "a", checked(20, SLOW, "a" * 40 + "b"))
        second = await ask(client, "a", checked(1, SLOW, "b"))
        plain = await ask(
            client, "a", {"items": [{"prompt": "q", "response": "b", "rubric": [{"text": "t", "points": 1}]}]}
        )
        other = await ask(client, "b", checked(1, SLOW, "a"))
        page = (await client.get("/metrics")).text
        await clock.advance(float(second.headers["retry-after"]))
        later = await ask(client, "a", checked(1, SLOW, "a"))
    statuses = [one["criteria"][0]["status"] for one in first.json()["results"]]
    assert statuses.count("overloaded") >= 2
    assert set(statuses) == {"verifier_error", "overloaded"}
    assert (second.status_code, second.json()["type"]) == (429, "urn:rubricd:problem:quota_exceeded")
    assert int(second.headers["retry-after"]) >= 1
    assert [one.status_code for one in (first, plain, other, later)] == [200] * 4
    assert later.json()["results"][0]["score"] == 1.0
    assert 'rubricd_quota_limit{quota="rule_seconds_per_minute",team="a"} 1.0' in page
    assert 'rubricd_quota_rule_seconds_total{team="a"}' in page


async def test_a_noisy_neighbours_checks_refuse_and_hold_up_no_request_of_another_team(tmp_path: Path) -> None:
    """A team with 500 checks that run into their limit of 0.5 s; another one's 20 requests, half of them with rules."""
    teams = write(tmp_path / "teams.json", team("noisy"), team("victim"))
    settings = fake_settings(teams=teams, rule_timeout_s=0.5, max_items=500, max_team_queued_checks=400)
    async with serving(settings=settings) as client:
        noisy = asyncio.ensure_future(ask(client, "noisy", checked(500, SLOW, "a" * 40 + "b")))
        while 'rubricd_queued_rule_checks{team="noisy"}' not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.01)
        again = await ask(client, "noisy", checked(1, SLOW, "b"))
        waits_s, codes = [], []
        for n in range(20):
            begin_s = time.perf_counter()
            codes.append((await ask(client, "victim", checked(1, SLOW, f"{n} a") if n % 2 else PLAIN)).status_code)
            waits_s.append(time.perf_counter() - begin_s)
        noisy.cancel()
        await asyncio.gather(noisy, return_exceptions=True)
    assert again.status_code == 503
    assert int(again.headers["retry-after"]) >= 1
    assert codes == [200] * 20
    print(f"20 requests beside 500 slow checks: {sorted(waits_s)[10]:.3f} s median, {max(waits_s):.3f} s at most")
    assert sorted(waits_s)[18] < 60
