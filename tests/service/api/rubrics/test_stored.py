"""Scores by reference: the verdicts of the rubric itself, or a refusal."""

import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.engine.fake import FakeEngine
from testkit.apps import CANARIES, fake_settings, item, serving
from testkit.redis import RedisServer
from testkit.teams_file import auth, team, write
from testkit.waiting import HUNG_S
from trainer_client import wire

RUBRIC = [{"text": "Says to rest.", "points": 5}, {"text": "Says to run.", "points": -3}]
UNKNOWN = "knee@0123456789abcdef"


async def put(client: httpx.AsyncClient, rubric: Any = RUBRIC, name: str = "knee", **headers: Any) -> str:
    answer = await client.put(f"/v1/rubrics/{name}", json=rubric, **headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["ref"])


def _copied(content: bytes, ref: str, rubrics: Path) -> None:
    """Into the one team's folder."""
    (folder,) = rubrics.iterdir()
    (folder / f"{ref}.json").write_bytes(content)


def told(answer: httpx.Response) -> tuple[int, str, list[Any]]:
    problem = answer.json()
    return answer.status_code, problem["type"].rpartition(":")[2], [one["loc"] for one in problem["errors"]]


def without_id(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in ("id", "usage")}


async def test_a_reference_is_answered_as_the_rubric_is_and_from_its_cache() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        ref = await put(client)
        inline = await client.post("/v1/score", json={"items": [item(rubric=RUBRIC)]})
        asked = engine.prompts
        by_ref = await client.post("/v1/score", json={"items": [item(rubric={"ref": ref})]})
        assert engine.prompts == asked == 2 + CANARIES
    usage = by_ref.json()["usage"]
    assert (usage["cache_hits"], usage["judgements"]) == (2, 0)
    first, second = without_id(inline.json()), without_id(by_ref.json())
    for result in (*first["results"], *second["results"]):
        for criterion in result["criteria"]:
            del criterion["source"]
    assert first == second


async def test_200_random_rubrics_score_the_same_by_reference_bit_by_bit() -> None:
    rng, wrong = random.Random(11), 0
    async with serving() as client:
        for n in range(200):
            rubric = [
                {
                    "text": f"Says {rng.choice(['this', 'that', 'ü', '“quoted”'])} {k}",
                    "points": rng.choice([-3, 0, 0.1, 2.5, 7]),
                    **rng.choice([{}, {"id": f"c{k}"}, {"tags": [f"axis:{k}"]}, {"polarity": "negative"}]),
                    **rng.choice([{}, {"verifier": {"rule": "contains", "text": "Rest"}}, {"category": "optional"}]),
                }
                for k in range(rng.randint(1, 6))
            ]
            options = {"cache": "bypass", "soft": rng.random() < 0.5, "threshold": rng.choice([0.3, 0.5])}
            aggregation = rng.choice(["healthbench", "weighted_abs", "mean"])
            bodies = [
                {"items": [item(rubric=one, response=f"Rest {n}.")], "aggregation": aggregation, **options}
                for one in (rubric, {"ref": await put(client, rubric, f"r{n % 7}")})
            ]
            answers = [without_id((await client.post("/v1/score", json=body)).json()) for body in bodies]
            wrong += answers[0] != answers[1] or "results" not in answers[0]
    assert wrong == 0


async def test_many_items_share_a_reference_and_lines_and_lint_take_one() -> None:
    async with serving() as client:
        ref = await put(client)
        items = [item(id=str(n), rubric={"ref": ref}, response=f"R{n}") for n in range(5)]
        answer = await client.post("/v1/score", json={"items": items})
        lines = await client.post("/v1/score", json={"items": items}, headers={"Accept": "application/x-ndjson"})
        lint = await client.post("/v1/rubrics/lint", json={"rubric": {"ref": ref}})
        inline = await client.post("/v1/rubrics/lint", json={"rubric": RUBRIC})
        one = await client.post("/v1/score", json=item(rubric={"ref": ref}))
    assert [len(result["criteria"]) for result in answer.json()["results"]] == [2] * 5
    assert len(lines.text.splitlines()) == 6
    assert (lint.status_code, lint.json()) == (200, inline.json())
    assert one.status_code == 200


async def test_pairs_are_compared_under_a_stored_rubric_as_under_its_criteria() -> None:
    async with serving() as client:
        ref = await put(client)
        pair = {"prompt": "My knee hurts.", "a": "Rest it.", "b": "Run on."}
        asked: list[Any] = [RUBRIC, {"ref": ref}, {"ref": UNKNOWN}]
        answers = [
            await client.post("/v1/compare", json={"items": [{**pair, "rubric": one}], "cache": "bypass"})
            for one in asked
        ]
    assert answers[0].status_code == 200, answers[0].text
    assert without_id(answers[0].json()) == without_id(answers[1].json())
    assert told(answers[2]) == (422, "unknown_rubric", [["items", 0, "rubric", "ref"]])


@pytest.mark.parametrize(
    ("ref", "says"),
    [("knee", "there is no latest"), ("knee@latest", "16 of the digits"), ("kn ee@0123456789abcdef", "the name of")],
)
async def test_a_reference_without_a_version_is_refused(ref: str, says: str) -> None:
    async with serving() as client:
        await put(client)
        answer = await client.post("/v1/score", json={"items": [item(rubric={"ref": ref})]})
    assert told(answer) == (422, "invalid_request", [["items", 0, "rubric"]])
    assert says in answer.json()["errors"][0]["msg"]


async def test_criteria_beside_a_reference_must_be_those_that_it_names() -> None:
    async with serving() as client:
        ref = await put(client)
        same = await client.post("/v1/score", json={"items": [item(rubric={"ref": ref, "criteria": RUBRIC})]})
        other = await client.post("/v1/score", json={"items": [item(rubric={"ref": ref, "criteria": RUBRIC[:1]})]})
    assert same.status_code == 200
    assert told(other) == (422, "invalid_request", [["items", 0, "rubric"]])


async def test_what_is_not_stored_is_told_with_its_places_and_judged_nowhere() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        ref = await put(client)
        items = [item(rubric={"ref": one}) for one in (ref, UNKNOWN, ref, "hip@0123456789abcdef")]
        answer = await client.post("/v1/score", json={"items": items})
        alone = await client.post("/v1/score", json=item(rubric={"ref": UNKNOWN}))
        lint = await client.post("/v1/rubrics/lint", json={"rubric": {"ref": UNKNOWN}})
        assert engine.prompts == CANARIES
    places = [["items", 1, "rubric", "ref"], ["items", 3, "rubric", "ref"]]
    assert told(answer) == (422, "unknown_rubric", places)
    assert "rubricd rubrics put" in answer.json()["errors"][0]["msg"]
    assert told(alone) == told(lint) == (422, "unknown_rubric", [["rubric", "ref"]])


async def test_another_teams_rubric_is_not_there(tmp_path: Path) -> None:
    teams = write(tmp_path / "teams.json", team("a"), team("b"))
    async with serving(settings=fake_settings(teams=teams)) as client:
        ref = await put(client, headers=auth("a"))
        body = {"items": [item(rubric={"ref": ref})]}
        assert (await client.post("/v1/score", json=body, headers=auth("a"))).status_code == 200
        assert told(await client.post("/v1/score", json=body, headers=auth("b")))[:2] == (422, "unknown_rubric")


async def test_a_removed_rubric_is_refused_here_at_once() -> None:
    async with serving() as client:
        ref = await put(client)
        body = {"items": [item(rubric={"ref": ref})]}
        assert (await client.post("/v1/score", json=body)).status_code == 200
        await client.delete(f"/v1/rubrics/{ref}")
        assert told(await client.post("/v1/score", json=body))[1] == "unknown_rubric"


async def test_what_a_request_must_say_of_pitfalls_it_must_say_of_those_stored_before(tmp_path: Path) -> None:
    """A folder may hold a rubric from before a pitfall without a sign was refused there."""
    content = wire.rubric_content(
        wire.Rubric.model_validate([{"text": "Pitfall Criteria: Does not say to rest.", "points": -1}, *RUBRIC])
    )
    ref = f"old@{wire.version_of(content)}"
    async with serving(settings=fake_settings(rubrics=tmp_path)) as client:
        await put(client)
        _copied(content, ref, tmp_path)
        body: dict[str, Any] = {"items": [item(rubric=RUBRIC), item(rubric={"ref": ref})]}
        refused = await client.post("/v1/score", json=body)
        good = (await client.post("/v1/score", json={**body, "pitfalls": "met_is_good"})).json()
        bad = (await client.post("/v1/score", json={**body, "pitfalls": "met_is_bad"})).json()
    assert told(refused) == (422, "invalid_request", [["items", 1, "rubric"]])
    assert [one["results"][1]["criteria"][0]["points"] for one in (good, bad)] == [1, -1]


async def test_a_lost_redis_is_a_refusal_and_never_another_rubric() -> None:
    with RedisServer() as server:
        settings = fake_settings(redis_url=server.url, redis_timeout_s=HUNG_S)
        async with serving(settings=settings) as first, serving(settings=settings) as second:
            ref = await put(first)
            body = {"items": [item(rubric={"ref": ref})]}
            assert (await first.post("/v1/score", json=body)).status_code == 200
            server.do("FLUSHALL")
            assert told(await second.post("/v1/score", json=body))[1] == "unknown_rubric"
            server.kill()
            lost = await second.post("/v1/score", json=body)
            assert (told(lost)[:2], "retry-after" in lost.headers) == ((503, "unavailable"), True)
            assert (await first.post("/v1/score", json=body)).status_code == 200  # it has read this version


@pytest.mark.parametrize(
    ("route", "body", "loc"),
    [
        (
            "/get_reward",
            lambda ref: {"query": ["QA"], "prompts": ["Q"], "labels": [{"rubric": {"ref": ref}}]},
            ["labels", 0, "rubric", "ref"],
        ),
        (
            "/rm",
            lambda ref: {"prompt": "Q", "response": "A", "label": {"rubric": {"ref": ref}}},
            ["label", "rubric", "ref"],
        ),
        (
            "/evaluate",
            lambda ref: {
                "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
                "kwargs": {"rubric": {"ref": ref}},
            },
            ["kwargs", "rubric", "ref"],
        ),
    ],
)
async def test_the_routes_of_other_trainers_take_references(route: str, body: Any, loc: list[Any]) -> None:
    async with serving() as client:
        ref = await put(client)
        assert (await client.post(route, json=body(ref))).status_code == 200
        assert told(await client.post(route, json=body(UNKNOWN))) == (422, "unknown_rubric", [loc])
