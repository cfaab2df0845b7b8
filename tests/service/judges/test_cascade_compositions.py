"""A cascade among other compositions, and criteria that no plan was made for."""

import json
from pathlib import Path
from typing import Any

import pytest

from testkit.apps import fake_settings, item, serving
from tests.service.judges.test_cascade import HIGH, LEAVES, LOW, with_cascade
from trainer_client.cascade.paid import Files, paid_judge
from trainer_client.labels import read_labels

ITEMS = [item(response=f"Answer {n}.") for n in range(30)]


async def _scores(file: Path, *judges: str, items: list[dict[str, Any]] = ITEMS) -> dict[str, Any]:
    async with serving(settings=fake_settings(judges=file)) as client:
        found = {}
        for judge in judges:
            answer = await client.post("/v1/score", json={"items": items, "judge": judge})
            assert answer.status_code == 200, answer.text
            found[judge] = [one for result in answer.json()["results"] for one in result["criteria"]]
        return found


async def test_a_cascade_in_a_panel_votes_with_the_verdict_of_who_decided(tmp_path: Path) -> None:
    file = await with_cascade(tmp_path)
    file.write_text(f"{file.read_text()}  panel: {{panel: [both, small]}}\n")
    found = await _scores(file, "panel", "both", "small")
    for panel, both, small in zip(*found.values(), strict=True):
        assert panel["p"] == pytest.approx((both["p"] + small["p"]) / 2)
        assert [one["judge"] for one in panel["members"]] == ["both", "small"]


async def test_a_panel_in_a_cascade_is_asked_about_what_is_unsure(tmp_path: Path) -> None:
    leaves = f"{LEAVES}  two: {{panel: [small, large]}}\n"
    file = await with_cascade(tmp_path, "deep", ("small", "two"), leaves)
    found = await _scores(file, "deep", "small", "two")
    went_on = 0
    for deep, small, two in zip(*found.values(), strict=True):
        unsure = LOW <= small["p"] <= HIGH
        went_on += unsure
        assert deep["p"] == (two if unsure else small)["p"]
        assert [one["judge"] for one in deep["members"]] == ["small", "two"][: 1 + unsure]
    assert 5 < went_on < 55


async def test_a_cascade_is_a_member_of_a_cascade(tmp_path: Path) -> None:
    first = await with_cascade(tmp_path)
    leaves = f"{first.read_text()}  third: {{engine: fake, prompt: examples}}\n"
    found = await _scores(await with_cascade(tmp_path, "outer", ("both", "third"), leaves), "outer", "both", "third")
    for outer, both, third in zip(*found.values(), strict=True):
        assert outer["p"] == (third if LOW <= both["p"] <= HIGH else both)["p"]


@pytest.mark.parametrize("band", [{"low": LOW, "high": HIGH}, None])
async def test_levels_are_read_by_the_last_judge_whatever_the_band_is(tmp_path: Path, band: Any) -> None:
    levels = [{"text": "It says nothing.", "value": 0}, {"text": "It says all.", "value": 1}]
    graded = {"id": "0", "text": "How much does it say?", "points": 3, "levels": levels}
    items = [item(response=f"Answer {n}.", rubric=[graded]) for n in range(8)]
    file = await with_cascade(tmp_path, band=band)
    found = await _scores(file, "both", "large", items=items)
    for both, large in zip(*found.values(), strict=True):
        assert (both["status"], both["p_levels"]) == ("ok", large["p_levels"])
        assert [one["judge"] for one in both["members"]] == ["small", "large"]


async def test_where_each_verdict_stands_nobody_else_is_asked(tmp_path: Path) -> None:
    found = await _scores(await with_cascade(tmp_path, band=None), "both", "small")
    assert [one["p"] for one in found["both"]] == [one["p"] for one in found["small"]]
    assert {len(one["members"]) for one in found["both"]} == {1}


async def test_the_services_ledger_has_the_verdicts_that_a_plan_is_made_of(tmp_path: Path) -> None:
    """Found by their texts, those of each judge by its fingerprint, with turns, a reference and categories."""
    file = tmp_path / "judges.yaml"
    file.write_text(LEAVES)
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]
    rubric = [
        {"text": "Essential Criteria: Says why.", "points": 5, "category": "essential"},
        {"text": "Lies.", "points": -1},
    ]
    items = [
        {"prompt": turns, "response": f"Answer {n}.", "reference": "Because.", "rubric": {"criteria": rubric}}
        for n in range(5)
    ]
    rows = [
        json.dumps({"item": one, "met": {"0": True, "1": False}, "prompt_id": str(n)}) for n, one in enumerate(items)
    ]
    (tmp_path / "labels.jsonl").write_text("\n".join(rows))
    async with serving(settings=fake_settings(judges=file, ledger=tmp_path / "ledger")) as client:
        found = {}
        for judge in ("small", "large"):
            answer = (await client.post("/v1/score", json={"items": items, "judge": judge})).json()
            found[judge] = (
                answer["judge"]["fingerprint"],
                [one for each in answer["results"] for one in each["criteria"]],
            )
    labels = read_labels([str(tmp_path / "labels.jsonl")])
    for name, (fingerprint, said) in found.items():
        paid = paid_judge(labels, Files(name, fingerprint, [tmp_path / "ledger"], {}), print)
        assert [(one.met, one.p) for one in paid.criteria] == [(one["met"], one["p"]) for one in said]
