"""`/evaluate`: a score with its metrics, or a score of null that says it is not valid."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from testkit.apps import serving
from tests.service.api.protocols.bodies import LABEL, MESSAGES, RUBRIC, by_the_contract, eval_protocol, failing
from trainer_client import wire


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serving() as client:
        yield client


async def evaluated(client: httpx.AsyncClient, body: dict[str, Any], url: str = "/evaluate") -> dict[str, Any]:
    answer = await client.post(url, json=body)
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


def ps(result: wire.Result) -> list[float | None]:
    return [criterion.p for criterion in result.criteria]


def seen(reply: dict[str, Any]) -> list[float]:
    return [metric["data"]["p"] for metric in reply["metrics"].values()]


async def test_a_score_comes_with_a_metric_for_each_criterion(client: httpx.AsyncClient) -> None:
    same = await by_the_contract(client)
    reply = await evaluated(client, eval_protocol())
    assert (reply["score"], reply["is_score_valid"], reply["error"]) == (same.score, True, None)
    assert reply["reason"] == "judged; coverage 1"
    assert list(reply["metrics"]) == ["0", "1"]
    wanted, fault = (criterion.met for criterion in same.criteria)
    assert [metric["score"] for metric in reply["metrics"].values()] == [float(bool(wanted)), float(not fault)]
    assert [metric["data"]["met"] for metric in reply["metrics"].values()] == [wanted, fault]
    assert seen(reply) == ps(same)


@pytest.mark.parametrize(
    "body",
    [
        eval_protocol(),
        {"messages": MESSAGES, **LABEL},
        {"messages": MESSAGES, **LABEL, "ground_truth": MESSAGES[:1], "model": "x"},
        {"messages": MESSAGES, "ground_truth": json.dumps(LABEL)},
        {"messages": MESSAGES, "ground_truth": json.dumps(RUBRIC), "kwargs": {}},
        {"messages": MESSAGES, "ground_truth": "", "kwargs": LABEL},
    ],
    ids=["kwargs", "beside", "the client's default", "ground truth", "a list as ground truth", "an empty one"],
)
async def test_a_rubric_is_found_wherever_it_may_stand(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert seen(await evaluated(client, body)) == ps(await by_the_contract(client))


async def test_a_ground_truth_beside_a_rubric_is_the_reference(client: httpx.AsyncClient) -> None:
    told = ps(await by_the_contract(client, reference="Rest."))
    assert seen(await evaluated(client, eval_protocol(ground_truth="Rest."))) == told
    own = eval_protocol(ground_truth="Run.", kwargs={**LABEL, "reference": "Rest."})
    assert seen(await evaluated(client, own)) == told
    assert told != ps(await by_the_contract(client))


async def test_a_rating_takes_the_ground_truth_as_reference(client: httpx.AsyncClient) -> None:
    body = {"messages": MESSAGES, "ground_truth": "Rest."}
    by_url = await evaluated(client, body, "/evaluate?mode=likert")
    by_field = await evaluated(client, {**body, "mode": "likert"})
    other = await evaluated(client, {**body, "ground_truth": "Run."}, "/evaluate?mode=likert")
    assert by_url["score"] == by_field["score"] != other["score"]
    assert by_url["metrics"] == {}


async def test_options_beside_a_label_count(client: httpx.AsyncClient) -> None:
    hard = await evaluated(client, eval_protocol())
    beside = await evaluated(client, {"messages": MESSAGES, "ground_truth": json.dumps(LABEL), "soft": True})
    within = await evaluated(client, eval_protocol(kwargs={**LABEL, "soft": True}))
    assert beside["score"] == within["score"] != hard["score"]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"messages": MESSAGES}, []),
        ({"messages": MESSAGES, "kwargs": {"threshold": 0.4}}, ["kwargs"]),
        ({"messages": MESSAGES, "kwargs": {**LABEL, "weigth": 1}}, ["kwargs"]),
        ({"messages": MESSAGES, "ground_truth": "Paris"}, ["ground_truth"]),
        ({"messages": MESSAGES, "ground_truth": {"reference": "Rest."}}, ["ground_truth"]),
        ({"messages": MESSAGES[:1], **LABEL}, ["messages", 0]),
        ({"messages": [], **LABEL}, ["messages"]),
        ({"messages": [*MESSAGES[:1], {"role": "assistant"}], **LABEL}, ["messages", 1, "content"]),
        ({"messages": "hello", **LABEL}, ["messages"]),
        (eval_protocol(kwargs={"rubric": [{"text": ""}]}), ["kwargs", "rubric", "criteria", 0, "text"]),
    ],
)
async def test_a_slip_is_refused_at_its_place(
    client: httpx.AsyncClient, body: dict[str, Any], place: list[str | int]
) -> None:
    answer = await client.post("/evaluate", json=body)
    places = [found.loc for found in wire.Problem.model_validate_json(answer.content).errors]
    assert answer.status_code == 422
    assert places[0] == place


async def test_what_assistant_and_tools_say_after_the_last_question_is_a_trajectory(client: httpx.AsyncClient) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    response = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "name": "search", "content": "Rest helps."},
        MESSAGES[1],
    ]
    before = [*MESSAGES, {"role": "user", "content": "And now?"}]
    same = await by_the_contract(client, prompt=before, response=response)
    reply = await evaluated(client, eval_protocol(messages=[*before, *response]))
    plain = await evaluated(client, eval_protocol(messages=[*before, MESSAGES[1]]))
    assert {id: one["data"]["p"] for id, one in reply["metrics"].items()} == {one.id: one.p for one in same.criteria}
    assert reply["metrics"] != plain["metrics"]


async def test_an_image_is_refused_by_its_name(client: httpx.AsyncClient) -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    answer = await client.post("/evaluate", json=eval_protocol(messages=[image, MESSAGES[1]]))
    assert answer.status_code == 422 and "`image_url` cannot be judged" in answer.text


async def test_what_was_not_judged_is_null_and_not_valid() -> None:
    async with failing("low_mass") as client:
        reply = await evaluated(client, eval_protocol())
    assert (reply["score"], reply["is_score_valid"], reply["metrics"]) == (None, False, {})
    assert reply["reason"] == reply["error"] == "not judged; criteria without a verdict: abstained 2"


async def test_a_part_has_metrics_of_what_was_judged_only() -> None:
    async with failing("ok", "batch") as client:
        reply = await evaluated(client, eval_protocol(kwargs={**LABEL, "min_coverage": 0.1, "unjudged": "middle"}))
    assert reply["is_score_valid"] is True
    assert len(reply["metrics"]) == 1
    assert reply["reason"].startswith("judged in part; coverage 0.")
