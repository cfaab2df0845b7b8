"""Aggregations with options over HTTP: what a request chooses, and what it leaves as it was."""

from typing import Any

import httpx
import pytest

from testkit.apps import fake_settings, item, serving
from trainer_client import wire


def _criterion(category: str, word: str, points: int = 1, **tags: str) -> dict[str, Any]:
    rule = {"rule": "contains", "text": word}
    return {"text": f"Names {word}.", "points": points, "category": category, "tags": tags, "verifier": rule}


ITEM = item(
    response="tea and rest",
    rubric=[
        _criterion("essential", "tea", dimension="care", kind="factual"),
        _criterion("important", "doctor", dimension="care", veto="yes"),
        _criterion("optional", "rest"),
        _criterion("pitfall", "pain", -1) | {"polarity": "negative"},
    ],
)


async def _scores(*chosen: Any) -> list[float | None]:
    async with serving(settings=fake_settings()) as client:
        answers = [await client.post("/v1/score", json={"items": [ITEM], "aggregation": one}) for one in chosen]
    return [wire.ScoreResponse.model_validate_json(answer.content).results[0].score for answer in answers]


async def test_rar_by_both_versions_of_the_paper() -> None:
    second, same, first = await _scores(
        "rar_explicit",
        {"name": "rar_explicit"},
        {"name": "rar_explicit", "category_weights": {"pitfall": 0.8}},
    )
    assert second == same == pytest.approx((1.0 + 0.3 + 0.9) / 2.9)
    assert first == pytest.approx((1.0 + 0.3 + 0.8) / 2.8)


async def test_the_formulas_of_later_papers_by_hand() -> None:
    """Of weights 1, 1, 1, 1 the second fails; the first two are one dimension, half of which is met."""
    scores = await _scores(
        "conjunctive", "factual_gate", "veto", {"name": "caps", "cap": 0.5}, "saturation", {"name": "caps", "cap": 1}
    )
    assert scores == [0.5, 1.0, 0.0, 1.0, pytest.approx((2 * 0.75 + 2) / 4), 0.75]


async def test_verdicts_and_the_judge_stay_what_they_are() -> None:
    plain = {"items": [item()]}
    async with serving(settings=fake_settings()) as client:
        first = await _answer(client, plain)
        second = await _answer(client, {**plain, "aggregation": {"name": "veto", "tag": "axis"}})
    assert (second.usage.judgements, second.usage.cache_hits) == (0, len(first.results[0].criteria))
    assert second.judge.fingerprint == first.judge.fingerprint


async def _answer(client: httpx.AsyncClient, body: dict[str, Any]) -> wire.ScoreResponse:
    return wire.ScoreResponse.model_validate_json((await client.post("/v1/score", json=body)).content)


async def test_lint_knows_the_tag_that_a_formula_looks_at() -> None:
    rubric = [{"text": "Names tea.", "points": 1, "tags": {"axis": "facts"}}, {"text": "Names rest.", "points": 1}]
    found = {}
    async with serving(settings=fake_settings()) as client:
        for tag in ("axis", "aksis"):
            body = {"rubric": rubric, "aggregation": {"name": "conjunctive", "tag": tag}}
            answer = await client.post("/v1/rubrics/lint", json=body)
            found[tag] = [one["code"] for one in answer.json()["findings"]]
    assert found == {"axis": [], "aksis": ["no_tagged"]}
