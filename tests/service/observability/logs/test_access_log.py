"""One line a request, with what it took and nothing of its text."""

import io
import json
from typing import Any

import httpx

from service.engine.fake import FakeEngine, FaultPlan
from service.tenancy.team import DEFAULT_TEAM
from testkit import teams_file
from testkit.apps import app_of, fake_settings, item, serving
from tests.service.observability.logs.secret import SECRET, Lines, fail


def access(lines: Lines) -> list[dict[str, Any]]:
    return [line for line in lines() if line["logger"] == "rubricd.access"]


async def test_a_request_is_one_line_with_what_it_took(lines: Lines) -> None:
    async with serving() as client:
        lines()
        answer = await client.post("/v1/score", json={"items": [item(), item(prompt="Another.")]})
        again = await client.post("/v1/score", json={"items": [item()]})
        await client.get("/v1/judge")
        first, second, third = access(lines)
    usage = answer.json()["usage"]
    ts, ms = first.pop("ts"), first.pop("ms")
    assert ts and 0 < ms < 60_000
    assert first.pop("message") == f"{first['request_id']} POST /v1/score 200 {ms:.1f} ms"
    assert first == {
        "level": "INFO",
        "logger": "rubricd.access",
        "request_id": answer.headers["x-request-id"],
        "method": "POST",
        "route": "/v1/score",
        "status": 200,
        "team": DEFAULT_TEAM.name,
        "items": 2,
        "judgements": 4,
        "cache_hits": 0,
        "tokens": usage["prompt_tokens"] - usage["cached_tokens"] + usage["completion_tokens"],
    }
    assert (second["request_id"], second["cache_hits"], second["tokens"]) == (again.headers["x-request-id"], 2, 0)
    assert (third["route"], third["team"]) == ("/v1/judge", DEFAULT_TEAM.name)  # which is charged for it
    assert "items" not in third and "trace_id" not in third


async def test_a_stream_and_another_protocol_are_lines_as_well(lines: Lines) -> None:
    async with serving() as client:
        lines()
        await client.post("/v1/score", json={"items": [item()]}, headers={"accept": "application/x-ndjson"})
        label = {"rubric": [{"text": "Says to rest.", "points": 1}]}
        body = {"query": ["My knee hurts.Rest it."], "prompts": ["My knee hurts."], "labels": [json.dumps(label)]}
        assert (await client.post("/get_reward", json=body)).status_code == 200
        streamed, foreign = access(lines)
    assert (streamed["items"], streamed["judgements"], streamed["status"]) == (1, 2, 200)
    assert (foreign["route"], foreign["items"]) == ("/get_reward", 1)


async def test_a_refusal_names_the_team_and_counts_nothing(lines: Lines, tmp_path: Any) -> None:
    file = teams_file.write(tmp_path / "teams.json", teams_file.team("medicine"))
    async with serving(settings=fake_settings(teams=file)) as client:
        lines()
        await client.post("/v1/score", json={"items": []}, headers=teams_file.auth("medicine"))
        await client.post("/v1/score", json={"items": [item()]}, headers={"Authorization": f"Bearer {SECRET}"})
        known, unknown = access(lines)
    assert (known["status"], known["team"]) == (422, "medicine") and "items" not in known
    assert unknown["status"] == 401 and "team" not in unknown


async def test_no_line_carries_text_of_a_request(lines: Lines, stderr: io.StringIO) -> None:
    engine = FakeEngine(plan=FaultPlan(script=("ok",), rates={"crash": 0.3, "some": 0.2, "few": 0.2}), seed=3)
    rubric = [{"text": f"{SECRET} {n}", "points": 1} for n in range(4)]
    rubric.append({"text": SECRET, "points": 1, "verifier": {"rule": "regex", "pattern": f"({SECRET}"}})
    body = {"items": [item(id=SECRET, prompt=SECRET, response=SECRET, rubric=rubric)]}
    async with serving(engine, settings=fake_settings(cache_entries=0)) as client:
        for _ in range(20):
            headers = {"Authorization": f"Bearer {SECRET}"}
            assert (await client.post(f"/v1/score?{SECRET}", json=body, headers=headers)).status_code == 200
        await client.request(SECRET, f"/{SECRET}")
        await client.post("/v1/score", content=SECRET.encode())
        app_of(client).state.lifecycle.judge = fail
        answer = await client.post("/v1/score", json=body)
    written = stderr.getvalue()
    assert answer.status_code == 500 and SECRET not in answer.text
    assert "RuntimeError" in written and len(written.splitlines()) > 22
    assert SECRET not in written
    assert json.loads(written.splitlines()[-1])["status"] == 500


async def test_a_bug_is_not_a_caller_that_left(lines: Lines) -> None:
    async with serving() as client:
        app_of(client).state.lifecycle.judge = fail
        answer = await client.post("/v1/score", json={"items": [item()]})
        metrics: httpx.Response = await client.get("/metrics")
    assert [line["status"] for line in access(lines)] == [500, 200]
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert 'rubricd_requests_total{route="/v1/score",status="500"} 1.0' in metrics.text
