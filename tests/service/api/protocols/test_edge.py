"""What holds for every protocol because it holds for `POST /v1/score`: teams, quotas, deadlines, limits, silence."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.protocols.common import options_of
from service.app import create_app
from service.clock import ManualClock
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine
from service.settings import Settings
from testkit.apps import client_of, fake_settings, scorer_of, serving
from testkit.teams_file import auth, team, write
from tests.service.api.protocols.bodies import (
    JUDGING,
    LABEL,
    RUBRIC,
    SECRET,
    after_canaries,
    only_place,
    openrlhf,
    problem,
    score_request,
    slime,
)

PATHS = list(JUDGING)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serving(settings=fake_settings(max_criteria=8)) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
async def test_a_key_is_asked_for_where_there_are_teams(path: str, tmp_path: Path) -> None:
    settings = fake_settings(
        teams=write(tmp_path / "teams.json", team("a"), team("b", quota={"requests_per_minute": 1}))
    )
    async with serving(settings=settings) as client:
        body = JUDGING[path]()
        problem(await client.post(path, json=body), 401)
        problem(await client.post(path, json=body, headers={"X-Api-Key": "rbd_x"}), 401)
        assert (await client.post(path, json=body, headers=auth("a"))).status_code == 200
        assert (await client.post(path, json=body, headers=auth("b"))).status_code == 200
        limited = await client.post(path, json=body, headers=auth("b"))
        metrics = (await client.get("/metrics")).text
    if path == "/verify":
        assert limited.json()["_ng_failure_class"] == "judge_failed"
        assert limited.json()["failure_reason"].startswith("quota_exceeded: ")
    else:
        assert int(limited.headers["retry-after"]) >= 1
        problem(limited, 429)
    assert 'rubricd_refusals_total{code="quota_exceeded",team="b"} 1.0' in metrics
    assert f'rubricd_requests_total{{route="{path}",status="401"}} 2.0' in metrics


async def test_a_session_is_seeded_with_a_key_only(tmp_path: Path) -> None:
    async with serving(settings=fake_settings(teams=write(tmp_path / "teams.json", team("a")))) as client:
        problem(await client.post("/seed_session", json={}), 401)
        assert (await client.post("/seed_session", json={}, headers=auth("a"))).status_code == 200


@pytest.mark.parametrize("path", PATHS)
async def test_verdicts_are_shared_with_the_contracts_own_route(path: str) -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        if path == "/get_reward":
            body = openrlhf({**LABEL, "prompt": score_request()["items"][0]["prompt"]})
        else:
            body = JUDGING[path]()
        await client.post("/v1/score", json=score_request())
        asked = engine.prompts
        assert (await client.post(path, json=body)).status_code == 200
    assert engine.prompts - asked == (2 if path == "/v1/decisions" else 0)


@pytest.mark.parametrize("path", PATHS)
async def test_the_deadline_of_the_setting_ends_the_wait(path: str) -> None:
    clock = ManualClock()
    plan = after_canaries("hang")
    settings = fake_settings(protocol_deadline_s=7.5, max_batch_tokens=1, max_in_flight=1)
    async with serving(FakeEngine(plan=plan, sleep=clock.sleep), clock=clock, settings=settings) as client:
        waiting = asyncio.create_task(client.post(path, json=JUDGING[path]()))
        while not scorer_of(client)._scheduler.queued_tokens:
            await asyncio.sleep(0.001)
        await clock.advance(7.0)
        assert not waiting.done()
        await clock.advance(1.0)
        answer = await waiting
    assert _says_not_judged(path, answer)


def _says_not_judged(path: str, answer: httpx.Response) -> bool:
    if path in ("/get_reward", "/rm"):
        return "timeout 2" in problem(answer, 503).detail and answer.headers["retry-after"] == "1"
    reply = answer.json()
    if path == "/v1/decisions":
        return [one["type"] for one in reply["answers"]] == ["refusal", "refusal"]
    marks = {"/verify": reply.get("failure_reason"), "/evaluate": reply.get("error")}
    return "timeout 2" in marks[path] and reply.get("is_score_valid", False) is False


@pytest.mark.parametrize("path", PATHS)
async def test_an_idempotency_key_is_answered_once(path: str) -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        body, headers = JUDGING[path](), {"Idempotency-Key": "k"}
        first = await client.post(path, json=body, headers=headers)
        again = await client.post(path, json=body, headers=headers)
        elsewhere = await client.post(f"{path}?soft=true", json=body, headers=headers)
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    problem(elsewhere, 422)


async def test_a_key_is_free_again_where_nothing_was_judged() -> None:
    plan = after_canaries("batch", "batch", "ok")
    settings = fake_settings(max_batch_tokens=1, max_in_flight=1)
    async with serving(FakeEngine(plan=plan), settings=settings) as client:
        headers = {"Idempotency-Key": "k"}
        problem(await client.post("/rm", json=slime(), headers=headers), 503)
        again = await client.post("/rm", json=slime(), headers=headers)
    assert again.status_code == 200
    assert "idempotency-replayed" not in again.headers


@pytest.mark.parametrize("path", [*PATHS, "/seed_session"])
async def test_too_large_a_body_is_413(client: httpx.AsyncClient, path: str) -> None:
    problem(await client.post(path, content=b" " * 17_000_000), 413)


@pytest.mark.parametrize("path", PATHS)
async def test_only_post_is_served(client: httpx.AsyncClient, path: str) -> None:
    problem(await client.get(path), 405)


RAW: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": SECRET.encode(),
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "a deep label": b'{"prompt":"","response":"","label":' + b'{"a":' * 100_000,
    "not UTF-8": b'{"prompt": "\xff\xfe"}',
    "a lone surrogate": b'{"prompt": "a", "response": "\\ud800", "label": "\\ud800"}',
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", RAW.values(), ids=RAW.keys())
async def test_what_is_no_such_body_is_422(client: httpx.AsyncClient, path: str, body: bytes) -> None:
    answer = await client.post(path, content=body)
    problem(answer, 422)
    assert SECRET not in answer.text


TWICE: list[tuple[str, list[str | int]]] = [
    ("/get_reward", ["labels", 0, "rubric", 0, "points"]),
    ("/rm", ["label", "rubric", 0, "points"]),
    ("/verify", ["rubric", 0, "points"]),
    ("/evaluate", ["kwargs", "rubric", 0, "points"]),
    ("/v1/decisions", ["questions", 0, "type"]),
]


@pytest.mark.parametrize(("path", "loc"), TWICE)
async def test_a_key_that_stands_twice_is_refused_at_its_place(
    client: httpx.AsyncClient, path: str, loc: list[str | int]
) -> None:
    """In the body as in the JSON text of a label, where quotes are escaped."""
    text = json.dumps(JUDGING[path]())
    for escape in ("\\", ""):
        quoted = f'{escape}"'
        text = text.replace(f"{quoted}points{quoted}: 5", f"{quoted}points{quoted}: 5, {quoted}points{quoted}: -5", 1)
    text = text.replace('"type": "predicate"', '"type": "predicate", "type": "choice"')
    assert only_place(await client.post(path, content=text.encode())) == loc


@pytest.mark.parametrize("path", PATHS)
async def test_no_error_and_no_metric_holds_text_of_a_request(path: str) -> None:
    rubric = [{"text": SECRET, "points": SECRET}]
    bodies: dict[str, list[Any]] = {
        "/get_reward": [openrlhf(rubric), openrlhf({SECRET: 1}), openrlhf(prompts=[SECRET]), openrlhf(labels=[SECRET])],
        "/rm": [slime(rubric), slime({SECRET: SECRET}), slime(label=SECRET), slime(response=[SECRET])],
        "/verify": [{**JUDGING["/verify"](), "rubric": rubric}, {SECRET: SECRET, "rubric": SECRET}],
        "/evaluate": [{"messages": [{"role": SECRET, "content": SECRET}]}, {"messages": [{}], SECRET: SECRET}],
        "/v1/decisions": [
            {"model": SECRET, "input": [SECRET], "questions": [{"type": SECRET, "instructions": SECRET}]}
        ],
    }
    async with serving() as client:
        for body in bodies[path]:
            answer = await client.post(path, json=body)
            problem(answer, 422)
            assert SECRET not in answer.text
        answer = await client.post(f"{path}?{SECRET}={SECRET}", json=JUDGING[path]())
        problem(answer, 422)
        assert SECRET not in answer.text
        assert SECRET not in (await client.get("/metrics")).text


async def test_the_limits_of_a_request_hold(client: httpx.AsyncClient) -> None:
    problem(await client.post("/rm", json=slime(RUBRIC[:1] * 9)), 422)
    problem(await client.post("/get_reward", json=many(513)), 422)


def many(rows: int) -> dict[str, Any]:
    return {"query": ["p"] * rows, "prompts": ["p"] * rows, "labels": [RUBRIC[:1]] * rows}


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_that_went_to_the_contracts_route_is_told_where_to_go(
    client: httpx.AsyncClient, path: str
) -> None:
    body = JUDGING[path]()
    if path == "/evaluate":
        body["ground_truth"] = "x"
    assert f"here that is `POST {path}`" in problem(await client.post("/v1/score", json=body), 422).detail


async def test_unavailable_is_said_so() -> None:
    async def build(settings: Settings) -> LoadedJudge:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    app = create_app(fake_settings(), build=build)
    async with app.router.lifespan_context(app), client_of(app) as client:
        for path in PATHS:
            answer = await client.post(path, json=JUDGING[path]())
            if path == "/verify":
                assert answer.json()["failure_reason"] == "unavailable: the judge is loading"
            else:
                problem(answer, 503)


async def test_a_caller_that_leaves_frees_its_place() -> None:
    clock = ManualClock()
    plan = after_canaries("hang")
    settings = fake_settings(max_batch_tokens=1, max_in_flight=1)
    async with serving(FakeEngine(plan=plan, sleep=clock.sleep), clock=clock, settings=settings) as client:
        scheduler = scorer_of(client)._scheduler
        for path in PATHS * 4:
            waiting = asyncio.create_task(client.post(path, json=JUDGING[path]()))
            while not scheduler.queued_tokens:
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert scheduler.queued_tokens == 0


@pytest.mark.parametrize("path", PATHS)
async def test_an_answer_is_strict_json(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, json=JUDGING[path](), headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/json"
    json.loads(answer.content, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_every_number_and_boolean_of_the_contract_is_one_in_a_url() -> None:
    query = {"debias": "true", "consistency": "2", "votes": "3", "soft": "false", "threshold": "0.25"}
    expected = {"debias": True, "consistency": 2, "votes": 3, "soft": False, "threshold": 0.25, "min_coverage": 1}
    assert options_of({**query, "min_coverage": "1"}) == expected
    assert options_of({"mode": "verdict", "expect_judge": "12"}) == {"mode": "verdict", "expect_judge": "12"}


async def test_an_option_that_a_url_turns_on_is_weighed_and_not_misread(client: httpx.AsyncClient) -> None:
    answer = await client.post("/get_reward?debias=true", json=openrlhf())
    assert answer.status_code == 422
    assert "needs a judge with a certificate" in answer.json()["detail"]
