"""What a request says about its items: metadata that comes back unread, and what meeting a pitfall means."""

from typing import Any

import httpx
import pytest

from testkit.apps import fake_settings, item, serving
from trainer_client import wire
from trainer_client.wire.models import MAX_METADATA_CHARACTERS, MAX_METADATA_LEVELS

PITFALL: dict[str, Any] = {
    "title": "Massage",
    "description": "Pitfall Criteria: Does not leave out a massage.",
    "weight": -1,
    "verifier": {"rule": "contains", "text": "massage"},
}
ESSENTIAL = {
    "description": "Essential Criteria: Names tea.",
    "weight": 5,
    "verifier": {"rule": "contains", "text": "tea"},
}
BOTH = [ESSENTIAL, PITFALL]


async def _scores(*items: dict[str, Any], **options: Any) -> httpx.Response:
    async with serving(settings=fake_settings()) as client:
        return await client.post("/v1/score", json={"items": list(items), **options})


async def test_metadata_comes_back_with_every_result_of_its_item() -> None:
    said = {"data_source": "hb", "difficulty": 3, "nested": {"a": [None, 1.5, "é"]}}
    group = {**item(metadata=said, id="g"), "responses": ["a", "b"]}
    del group["response"]
    answer = await _scores(group, item(id="bare"))
    results = wire.ScoreResponse.model_validate_json(answer.content).results
    assert [result.metadata for result in results] == [said, said, None]


async def test_metadata_streams_too() -> None:
    async with serving(settings=fake_settings()) as client:
        body = {"items": [item(metadata={"n": 1})]}
        answer = await client.post("/v1/score", json=body, headers={"accept": "application/x-ndjson"})
    assert wire.StreamedResult.model_validate_json(answer.text.splitlines()[0]).metadata == {"n": 1}


def _nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"a": "x" * MAX_METADATA_CHARACTERS}, f"more than {MAX_METADATA_CHARACTERS} characters"),
        (_nested(MAX_METADATA_LEVELS + 1), f"more than {MAX_METADATA_LEVELS} levels"),
        ([1], "valid dictionary"),
        ("text", "valid dictionary"),
    ],
)
async def test_metadata_is_bounded(metadata: Any, said: str) -> None:
    answer = await _scores(item(metadata=metadata))
    assert answer.status_code == 422
    (place,) = wire.Problem.model_validate_json(answer.content).errors or []
    assert place.loc == ["items", 0, "metadata"] and said in place.msg


async def test_metadata_may_be_as_large_as_its_bounds() -> None:
    large = {"a": "x" * (MAX_METADATA_CHARACTERS - 9)}
    answer = await _scores(item(metadata=large), item(id="b", metadata=_nested(MAX_METADATA_LEVELS)))
    assert answer.status_code == 200 and answer.json()["results"][0]["metadata"] == large


@pytest.mark.parametrize("aggregation", ["healthbench", "rar_explicit"])
async def test_meeting_a_pitfall_means_what_the_request_says(aggregation: str) -> None:
    good = item(rubric=BOTH, response="Drink tea. Ask for a massage.")
    answer = await _scores(good, aggregation=aggregation, pitfalls="met_is_good")
    assert answer.json()["results"][0]["score"] == 1.0
    answer = await _scores(good, aggregation=aggregation, pitfalls="met_is_bad")
    assert answer.json()["results"][0]["score"] < 1.0


async def test_a_pitfalls_sign_is_never_guessed() -> None:
    answer = await _scores(item(), item(rubric=BOTH))
    assert answer.status_code == 422
    assert "criterion 1 of item 1 is a pitfall with negative points" in answer.text
    tagged = {"text": "Runs.", "points": -2, "tags": {"category": "pitfall"}}
    assert (await _scores(item(rubric=[ESSENTIAL, tagged]))).status_code == 422


@pytest.mark.parametrize(
    "criterion",
    [{**PITFALL, "polarity": "negative"}, {**PITFALL, "polarity": "positive"}, {**PITFALL, "weight": 1}],
)
async def test_a_pitfall_that_says_its_sign_needs_no_more(criterion: dict[str, Any]) -> None:
    assert (await _scores(item(rubric=[ESSENTIAL, criterion]))).status_code == 200


async def test_what_the_request_says_changes_no_sign_that_is_said() -> None:
    said = {**PITFALL, "polarity": "negative"}
    answer = await _scores(item(rubric=[ESSENTIAL, said, {**PITFALL, "weight": 1}]), pitfalls="met_is_good")
    assert [one["points"] for one in answer.json()["results"][0]["criteria"]] == [5.0, -1.0, 1.0]
