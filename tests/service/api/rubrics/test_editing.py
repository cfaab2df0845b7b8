"""People who write a rubric have it read and fixed; what cannot be read is answered with the reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from testkit.apps import fake_settings, serving
from testkit.teams_file import auth, team, write


async def test_a_pasted_rubric_is_read() -> None:
    async with serving() as client:
        lines = (await client.post("/v1/rubrics/read", json={"text": "5: Rests.\n−3 Runs."})).json()
        row = json.dumps({"prompt": "Hi", "response": "Ho", "rubric": [{"text": "Rests.", "points": 5}]})
        item = (await client.post("/v1/rubrics/read", json={"text": row})).json()
    assert [(one["text"], one["points"]) for one in lines["criteria"]] == [("Rests.", 5.0), ("Runs.", -3.0)]
    assert lines["format"] == "lines of points and text" and "prompt" not in lines
    assert (item["prompt"], item["responses"]) == ("Hi", ["Ho"])


@pytest.mark.parametrize("text", ["Rests.", "{", ""])
async def test_what_cannot_be_read_has_the_reason_and_no_criteria(text: str) -> None:
    async with serving() as client:
        answer = await client.post("/v1/rubrics/read", json={"text": text})
    assert answer.status_code == 200
    assert answer.json()["refused"] and answer.json()["criteria"] == []


async def test_a_rubric_longer_than_the_service_takes_is_not_read() -> None:
    async with serving(settings=fake_settings(max_criteria=2)) as client:
        answer = (await client.post("/v1/rubrics/read", json={"text": "1 A.\n1 B.\n1 C."})).json()
    assert answer["refused"] == "3 criteria; this service takes at most 2 a rubric"


async def test_what_is_mechanical_is_fixed_and_nothing_else() -> None:
    rubric: list[dict[str, Any]] = [
        {"text": "Rests   well.", "points": 5},
        {"text": "Runs.", "points": -3},
        {"text": "Rests well.", "points": 5},
        {"text": "essential - Sees a doctor.", "points": 1, "verifier": {"rule": "json_schema", "schema": {}}},
    ]
    async with serving() as client:
        fixes = (await client.post("/v1/rubrics/fix", json={"rubric": rubric})).json()["fixes"]
        again = [fix["criterion"] for fix in fixes if "criterion" in fix]
        fixed = (await client.post("/v1/rubrics/fix", json={"rubric": again})).json()["fixes"]
    assert fixes[0] == {"index": 0, "codes": ["untidy_text"], "criterion": {"text": "Rests well.", "points": 5.0}}
    assert fixes[1] == {"index": 2, "codes": ["duplicate_text"]}
    assert fixes[2]["criterion"]["text"] == "Essential Criteria: Sees a doctor."
    assert fixes[2]["criterion"]["verifier"] == {"rule": "json_schema", "schema": {}}
    assert fixed == []


async def test_both_routes_need_a_key_and_are_charged(tmp_path: Path) -> None:
    settings = fake_settings(teams=write(tmp_path / "teams.json", team("a", quota={"requests_per_minute": 2})))
    async with serving(settings=settings) as client:
        body = {"text": "1 A."}
        assert (await client.post("/v1/rubrics/read", json=body)).status_code == 401
        assert (await client.post("/v1/rubrics/fix", json=body)).status_code == 401
        statuses = [(await client.post("/v1/rubrics/read", json=body, headers=auth("a"))).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
