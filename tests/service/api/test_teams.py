"""Keys, classes, quotas and scopes as the real app checks them on arrival."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.clock import ManualClock
from service.engine.fake import FakeEngine
from testkit.apps import CANARIES, fake_settings, item, scorer_of, serving
from testkit.teams_file import auth, key, team, write
from testkit.waiting import HUNG_S


async def ask(client: httpx.AsyncClient, name: str, response: str = "Rest.", **options: Any) -> httpx.Response:
    body = {"items": [item(response=response)], **options}
    return await client.post("/v1/score", json=body, headers=auth(name))


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/score"), ("POST", "/score"), ("POST", "/v1/rubrics/lint"), ("GET", "/v1/judge")]
)
@pytest.mark.parametrize("header", [None, "Bearer rbd_wrong", "Basic abc", f"Bearer {key('b')}x", "Bearer "])
async def test_without_a_known_key_there_is_nothing(tmp_path: Path, method: str, path: str, header: str | None) -> None:
    settings = fake_settings(teams=write(tmp_path / "teams.json", team("a")))
    headers = {} if header is None else {"Authorization": header}
    async with serving(settings=settings) as client:
        answer = await client.request(method, path, headers=headers, json={"items": [item()]})
        page = await client.get("/metrics")
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:rubricd:problem:unauthorized")
    assert "rbd_" not in page.text
    assert header is None or header.removeprefix("Bearer ") not in answer.text or header == "Bearer "


async def test_what_a_supervisor_and_a_person_need_needs_no_key(tmp_path: Path) -> None:
    settings = fake_settings(teams=write(tmp_path / "teams.json", team("a")))
    async with serving(settings=settings) as client:
        for path in ("/healthz", "/readyz", "/metrics", "/", "/openapi.json"):
            assert (await client.get(path)).status_code == 200, path


async def test_a_team_asks_in_its_classes_only(tmp_path: Path) -> None:
    settings = fake_settings(teams=write(tmp_path / "teams.json", team("a", classes=["train"])))
    async with serving(settings=settings) as client:
        assert (await ask(client, "a")).status_code == 200
        refused = await ask(client, "a", priority="interactive")
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:rubricd:problem:forbidden")


async def reloaded(client: httpx.AsyncClient, clock: ManualClock, outcome: str, times: int) -> str:
    """The metrics page once a look, a second later, has ended so for this number of times."""
    await clock.advance(1.0)
    async with asyncio.timeout(HUNG_S):
        while f'rubricd_teams_reloads_total{{outcome="{outcome}"}} {times}.0' not in (
            page := (await client.get("/metrics")).text
        ):
            await asyncio.sleep(0.001)
    return page


async def test_two_keys_overlap_and_a_revoked_one_is_gone_within_five_seconds(tmp_path: Path) -> None:
    file, clock = tmp_path / "teams.json", ManualClock()
    settings = fake_settings(teams=write(file, team("a", keys=(key("a"), key("new")))))
    async with serving(clock=clock, settings=settings) as client:
        assert (await ask(client, "a")).status_code == (await ask(client, "new")).status_code == 200
        write(file, team("a", keys=(key("new"),)))
        await reloaded(client, clock, "ok", 1)
        assert (await ask(client, "a")).status_code == 401
        assert (await ask(client, "new")).status_code == 200
        file.write_text("teams: [")
        broken = await reloaded(client, clock, "failed", 1)
        assert (await ask(client, "new")).status_code == 200
        write(file, team("a", keys=(key("new"),)))
        whole = await reloaded(client, clock, "ok", 2)
    assert "rubricd_teams_file_ok 0.0" in broken
    assert "rubricd_teams_file_read_timestamp_seconds 1.0" in broken
    assert "rubricd_teams_file_ok 1.0" in whole
    assert "rubricd_teams_file_read_timestamp_seconds 3.0" in whole


async def test_a_quota_is_429_with_retry_after_and_names_the_team_in_the_metrics(tmp_path: Path) -> None:
    clock, engine = ManualClock(), FakeEngine()
    poor = team("poor", quota={"tokens_per_minute": 700})
    settings = fake_settings(teams=write(tmp_path / "teams.json", poor, team("rich")))
    async with serving(engine, clock=clock, settings=settings) as client:
        answers = [await ask(client, "poor", f"Response {n}.") for n in range(5)]
        rich = await ask(client, "rich", "Response 4.")
        page = (await client.get("/metrics")).text
    codes = [answer.status_code for answer in answers]
    assert codes[0] == 200
    assert codes[-1] == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert rich.status_code == 200
    assert 'rubricd_refusals_total{code="quota_exceeded",team="poor"}' in page


async def test_requests_a_minute_are_counted_at_the_door(tmp_path: Path) -> None:
    clock = ManualClock()
    settings = fake_settings(teams=write(tmp_path / "teams.json", team("a", quota={"requests_per_minute": 10})))
    async with serving(clock=clock, settings=settings) as client:
        codes = [(await ask(client, "a")).status_code for _ in range(30)]
        await clock.advance(60.0)
        codes += [(await ask(client, "a")).status_code]
    assert (codes[:30].count(200), codes[:30].count(429), codes[30]) == (10, 20, 200)


async def test_another_teams_text_is_never_a_hit_500_pairs(tmp_path: Path) -> None:
    """Own: a hit; another's: a miss; a team of the same scope: a hit."""
    engine = FakeEngine()
    shared = [team("lab-a", cache_scope="lab"), team("lab-b", cache_scope="lab")]
    settings = fake_settings(teams=write(tmp_path / "teams.json", team("a"), team("b"), *shared))
    wrong = 0
    async with serving(engine, settings=settings) as client:
        for n in range(500):
            text = f"Response {n}."
            usages = [(await ask(client, name, text)).json()["usage"] for name in ("a", "a", "b", "lab-a", "lab-b")]
            wrong += [usage["cache_hits"] for usage in usages] != [0, 2, 0, 0, 2]
    assert wrong == 0
    assert engine.prompts == CANARIES + 500 * 3 * 2


async def test_the_engine_gets_another_salt_for_each_scope(tmp_path: Path) -> None:
    engine = FakeEngine()
    salts: list[str] = []
    read = engine.read_labels

    async def listening(prompts: Any, label_ids: Any) -> Any:
        salts.extend(prompt.salt for prompt in prompts)
        return await read(prompts, label_ids)

    engine.read_labels = listening  # type: ignore[method-assign]
    settings = fake_settings(teams=write(tmp_path / "teams.json", team("a"), team("b")))
    async with serving(engine, settings=settings) as client:
        salts.clear()
        for name in ("a", "b", "a"):
            await ask(client, name, f"For {name} {len(salts)}.")
    assert len(set(salts)) == 2
    assert salts[0] == salts[-1] != salts[2]
    assert all(len(salt) == 64 and "team" not in salt for salt in salts)


async def test_an_app_whose_teams_file_is_broken_is_not_made(tmp_path: Path) -> None:
    from service.app import create_app
    from service.errors import ConfigurationError

    file = tmp_path / "teams.yaml"
    file.write_text("teams:\n  - name: Bad Name\n")
    with pytest.raises(ConfigurationError, match="name"):
        create_app(fake_settings(teams=file))


async def test_teams_share_a_full_judge_by_weight(tmp_path: Path) -> None:
    """Both have asked for more than is done and more than a team's credit; tokens computed go 3 to 1."""
    from service.engine.fake import FaultPlan

    clock = ManualClock()
    engine = FakeEngine(plan=FaultPlan(token_s=0.001), sleep=clock.sleep)
    teams = write(tmp_path / "teams.json", team("heavy", weight=3), team("light"))
    settings = fake_settings(teams=teams, max_batch_tokens=100, max_in_flight=1, max_queue_s=1e6)
    async with serving(engine, clock=clock, settings=settings, canary_s=1.0) as client:
        requests = [
            asyncio.create_task(ask(client, name, f"{name} {n}. " + "more words " * 100))
            for n in range(60)
            for name in ("light", "heavy")
        ]
        scheduler = scorer_of(client)._scheduler
        while scheduler.queued_tickets < 2 * len(requests) - 1:  # two criteria each, and the engine has the first
            await asyncio.sleep(0.001)
        done = {"heavy": 0, "light": 0}
        while sum(done.values()) < 50:
            await clock.advance(1.0)
            finished = [request.done() for request in requests]
            done = {"light": sum(finished[0::2]), "heavy": sum(finished[1::2])}
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
    assert 2.5 <= done["heavy"] / done["light"] <= 3.6


async def test_a_team_sees_its_own_use_and_no_other(tmp_path: Path) -> None:
    quota = {"requests_per_minute": 100}
    settings = fake_settings(teams=write(tmp_path / "teams.json", team("a", quota=quota), team("b")))
    async with serving(settings=settings) as client:
        assert (await client.get("/v1/usage")).status_code == 401
        before = (await client.get("/v1/usage", headers=auth("a"))).json()
        lines = {**auth("a"), "accept": "application/x-ndjson"}
        for headers in (auth("a"), lines):
            answer = await client.post("/v1/score", json={"items": [item()]}, headers=headers)
            assert answer.status_code == 200
        used = (await client.get("/v1/usage", headers=auth("a"))).json()
        other = (await client.get("/v1/usage", headers=auth("b"))).json()
    assert (before["cache_share"], before["quota"]["requests_per_minute"]) == (None, 100)
    assert (used["team"], used["responses"], used["judgements"], used["cache_hits"]) == ("a", 2, 2, 2)
    assert used["cache_share"] == 0.5 and used["tokens"] > 0 and used["reserved_tokens"] == 0
    assert (other["team"], other["judgements"], other["quota"]["requests_per_minute"]) == ("b", 0, None)
