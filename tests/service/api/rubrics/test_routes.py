"""The store of rubrics by HTTP: what is stored, listed, removed and refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from testkit.apps import fake_settings, serving
from testkit.redis import RedisServer
from testkit.teams_file import auth, team, write
from testkit.waiting import HUNG_S

RUBRIC = [{"text": "Says to rest.", "points": 5}, {"text": "Says to run.", "points": -3, "tags": ["axis:safety"]}]
OTHER = [{"text": "Says to rest.", "points": 6}]


def files_below(folder: Path) -> list[Path]:
    return list(folder.rglob("*.json"))


async def test_the_same_rubric_in_any_shape_is_one_version() -> None:
    shapes: list[Any] = [
        RUBRIC,
        {"criteria": RUBRIC},
        [{"points": 5.0, "text": "Says to rest.", "id": None}, {**RUBRIC[1], "tags": {"axis": "safety"}}],
        [{"criterion": one["text"], **{k: v for k, v in one.items() if k != "text"}} for one in RUBRIC],
    ]
    async with serving() as client:
        answers = [(await client.put("/v1/rubrics/knee", json=shape)).json() for shape in shapes]
        other = (await client.put("/v1/rubrics/knee", json=OTHER)).json()
        listed = (await client.get("/v1/rubrics/knee")).json()
        whole = (await client.get("/v1/rubrics")).json()
        got = (await client.get(f"/v1/rubrics/{answers[0]['ref']}")).json()
    assert len({one["ref"] for one in answers}) == 1
    assert [one["created"] for one in answers] == [True, False, False, False]
    assert answers[0]["ref"] == f"knee@{answers[0]['digest'][:16]}" != other["ref"]
    assert {one["ref"] for one in listed["versions"]} == {answers[0]["ref"], other["ref"]}
    assert listed["stored"] == whole["stored"] == len(whole["versions"]) == 2
    assert got["ref"] == answers[0]["ref"]
    assert [one["text"] for one in got["criteria"]] == [one["text"] for one in RUBRIC]


@pytest.mark.parametrize("tags", [{}, {"tags": {"category": "pitfall"}}])
async def test_a_pitfall_without_a_sign_is_refused_when_it_is_stored(tags: dict[str, Any]) -> None:
    """And not at the first request that uses it. What scoring would say of it, in the same words."""
    pitfall = {"text": "Runs." if tags else "Pitfall Criteria: Runs.", "points": -1, **tags}
    async with serving() as client:
        answer = await client.put("/v1/rubrics/knee", json=[*RUBRIC, pitfall])
        scored = await client.post("/v1/score", json={"prompt": "p", "response": "r", "rubric": [*RUBRIC, pitfall]})
        said = await client.put("/v1/rubrics/knee", json=[*RUBRIC, {**pitfall, "polarity": "negative"}])
        listed = (await client.get("/v1/rubrics")).json()
    assert answer.status_code == scored.status_code == 422 and said.status_code == 200 and listed["stored"] == 1
    (problem,) = answer.json()["errors"]
    assert problem["loc"] == ["criteria"] and "criterion 2 is a pitfall with negative points" in problem["msg"]
    assert "give the criterion a `polarity`" in problem["msg"] and "Runs" not in answer.text
    assert "criterion 2 of item 0 is a pitfall with negative points" in scored.text


async def test_files_hold_the_canonical_rubric_and_survive_a_restart(tmp_path: Path) -> None:
    settings = fake_settings(rubrics=tmp_path / "rubrics")
    async with serving(settings=settings) as client:
        ref = (await client.put("/v1/rubrics/knee", json=RUBRIC)).json()["ref"]
    (file,) = files_below(tmp_path)
    assert file.stem == ref
    assert hashlib.sha256(file.read_bytes()).hexdigest().startswith(ref.partition("@")[2])
    assert json.loads(file.read_bytes())["criteria"][0] == {"points": 5.0, "text": "Says to rest."}
    async with serving(settings=settings) as client:
        assert (await client.get(f"/v1/rubrics/{ref}")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/rubrics/none", 404, "rubric_not_found"),
        ("GET", "/v1/rubrics/none@0123456789abcdef", 404, "rubric_not_found"),
        ("DELETE", "/v1/rubrics/none@0123456789abcdef", 404, "rubric_not_found"),
        ("GET", "/v1/rubrics/none@latest", 422, "invalid_request"),
        ("GET", "/v1/rubrics/-@0123456789abcdef", 422, "invalid_request"),
        ("PUT", "/v1/rubrics/..", 404, "not_found"),
        ("PUT", "/v1/rubrics/a%2Fb", 404, "not_found"),
        ("PUT", "/v1/rubrics/%2e%2e", 422, "invalid_request"),
        ("PUT", "/v1/rubrics/a b", 422, "invalid_request"),
        ("PUT", f"/v1/rubrics/{'n' * 65}", 422, "invalid_request"),
    ],
)
async def test_what_is_not_there_and_what_is_no_name_is_told(method: str, path: str, status: int, code: str) -> None:
    async with serving() as client:
        answer = await client.request(method, path, json=RUBRIC if method == "PUT" else None)
    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:rubricd:problem:{code}"


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ([], ["criteria"]),
        ({}, []),
        ({"ref": "knee@0123456789abcdef"}, ["ref"]),
        ([{"text": "", "points": 1}], ["criteria", 0, "text"]),
        ([{"text": f"c{n}", "points": 1} for n in range(257)], ["criteria"]),
        ([{"text": "a", "points": 1, "id": "x"}, {"text": "b", "points": 1, "id": "x"}], []),
    ],
)
async def test_what_cannot_be_judged_is_not_stored(body: Any, loc: list[Any]) -> None:
    async with serving() as client:
        refused = await client.put("/v1/rubrics/knee", json=body)
        listed = await client.get("/v1/rubrics")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == loc
    assert listed.json()["versions"] == []


async def test_a_team_has_its_own_rubrics_and_its_own_room(tmp_path: Path) -> None:
    teams = write(tmp_path / "teams.json", team("a"), team("b"))
    async with serving(settings=fake_settings(teams=teams, rubrics_per_team=1)) as client:
        ref = (await client.put("/v1/rubrics/knee", json=RUBRIC, headers=auth("a"))).json()["ref"]
        assert (await client.get(f"/v1/rubrics/{ref}", headers=auth("a"))).status_code == 200
        assert (await client.get(f"/v1/rubrics/{ref}", headers=auth("b"))).status_code == 404
        assert (await client.get("/v1/rubrics", headers=auth("b"))).json()["versions"] == []
        assert (await client.get(f"/v1/rubrics/{ref}")).status_code == 401
        full = await client.put("/v1/rubrics/hip", json=OTHER, headers=auth("a"))
        assert (full.status_code, full.json()["type"]) == (403, "urn:rubricd:problem:forbidden")
        assert "DELETE /v1/rubrics/" in full.json()["detail"]
        assert (await client.put("/v1/rubrics/hip", json=OTHER, headers=auth("b"))).status_code == 200
        assert (await client.delete(f"/v1/rubrics/{ref}", headers=auth("a"))).status_code == 204
        assert (await client.put("/v1/rubrics/hip", json=OTHER, headers=auth("a"))).status_code == 200


async def test_replicas_share_rubrics_and_a_lost_redis_is_told(tmp_path: Path) -> None:
    with RedisServer() as server:
        settings = fake_settings(redis_url=server.url, redis_timeout_s=HUNG_S)
        async with serving(settings=settings) as first, serving(settings=settings) as second:
            ref = (await first.put("/v1/rubrics/knee", json=RUBRIC)).json()["ref"]
            assert (await second.get(f"/v1/rubrics/{ref}")).json()["ref"] == ref
            server.kill()
            for client in (first, second):
                lost = await client.put("/v1/rubrics/hip", json=OTHER)
                assert (lost.status_code, lost.json()["type"]) == (503, "urn:rubricd:problem:unavailable")
                assert "retry-after" in lost.headers
            assert (await second.get(f"/v1/rubrics/{ref}")).status_code == 200  # read before: a version never changes
            assert (await first.get(f"/v1/rubrics/{ref}")).status_code == 503


async def test_routes_with_names_are_one_route_in_the_metrics() -> None:
    async with serving() as client:
        await client.put("/v1/rubrics/knee", json=RUBRIC)
        await client.get("/v1/rubrics/none@0123456789abcdef")
        await client.get("/v1/rubrics/none/more")
        page = (await client.get("/metrics")).text
    assert 'rubricd_requests_total{route="/v1/rubrics/{name}",status="200"} 1.0' in page
    assert 'rubricd_requests_total{route="/v1/rubrics/{name}@{version}",status="404"} 1.0' in page
    assert 'rubricd_requests_total{route="other",status="404"} 1.0' in page
    assert "knee" not in page
