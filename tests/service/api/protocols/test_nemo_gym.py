"""`/verify`: a row comes back with its reward, or marked as Gym marks rows whose judge failed.

Gym is on no package index, so `Row` stands for its types: `BaseVerifyResponse`, which its agents demand of a reply
(`nemo_gym/base_resources_server.py`, `responses_api_agents/simple_agent/app.py`).
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ConfigDict

from service.app import lifecycle_of
from service.engine.fake import Fault
from testkit.apps import app_of, serving
from tests.service.api.protocols.bodies import (
    MESSAGES,
    PROMPT,
    RESPONSE,
    RUBRIC,
    by_the_contract,
    failing,
    nemo_gym,
    only_place,
    problem,
)


class Row(BaseModel):
    """What an agent of Gym makes of the reply: a float, and whatever else there is."""

    model_config = ConfigDict(extra="allow")

    responses_create_params: dict[str, Any]
    response: dict[str, Any]
    reward: float


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serving() as client:
        yield client


async def verified(client: httpx.AsyncClient, body: dict[str, Any], url: str = "/verify") -> dict[str, Any]:
    answer = await client.post(url, json=body)
    assert answer.status_code == 200, answer.text
    return Row.model_validate_json(answer.content).model_dump()


def said(content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": content, **more}


def assert_failed(row: dict[str, Any]) -> None:
    assert row["_ng_failure_class"] == row["failure_kind"] == "judge_failed"
    assert row["mask_sample"] is row["instance_config"]["mask_sample"] is True
    assert row["_ng_failure_judge_error"] == row["failure_reason"]
    assert "reward_components" not in row


async def test_the_row_comes_back_with_its_reward(client: httpx.AsyncClient) -> None:
    same = await by_the_contract(client)
    body = nemo_gym()
    row = await verified(client, body)
    assert {name: row[name] for name in body} == body
    assert row["reward"] == same.score
    assert row["reward_components"] == {"0": 5.0 * bool(same.criteria[0].met), "1": -3.0 * bool(same.criteria[1].met)}
    assert [one["status"] for one in row["rubric_evaluations"]] == ["ok", "ok"]
    assert not [name for name in row if name.startswith("_ng_") or name == "mask_sample"]


async def test_components_are_soft_where_the_reward_is(client: httpx.AsyncClient) -> None:
    same = await by_the_contract(client)
    row = await verified(client, nemo_gym(), "/verify?soft=true")
    p = [criterion.p or 0 for criterion in same.criteria]
    assert row["reward_components"] == {"0": pytest.approx(5 * p[0]), "1": pytest.approx(-3 * p[1])}
    assert row["reward"] == pytest.approx((5 * p[0] - 3 * p[1]) / 5)


async def test_the_rubric_may_stand_in_the_verifiers_metadata(client: httpx.AsyncClient) -> None:
    bare = nemo_gym()
    del bare["rubric"]
    within = {**bare, "verifier_metadata": {"rubric": RUBRIC, "id": "x", "threshold": "high"}}
    assert (await verified(client, within))["reward"] == (await verified(client, nemo_gym()))["reward"]
    assert only_place(await client.post("/verify", json=bare)) == []
    slip = {**bare, "verifier_metadata": {"rubric": [{"text": "a", "points": "1"}]}}
    place = only_place(await client.post("/verify", json=slip))
    assert place == ["verifier_metadata", "rubric", "criteria", 0, "points"]


async def test_the_conversation_is_all_that_was_said_before_the_last_answer(client: httpx.AsyncClient) -> None:
    told = await by_the_contract(
        client,
        prompt=[
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": PROMPT},
        ],
        response=[
            {"role": "assistant", "content": "Let me look."},
            {"role": "assistant", "content": "", "tool_calls": [{"name": "search", "arguments": '{"q": "knee"}'}]},
            {"role": "tool", "content": "Rest helps.", "name": "search"},
            {"role": "assistant", "content": RESPONSE},
        ],
    )
    output = [
        {"type": "reasoning", "summary": []},
        said("Let me look."),
        {"type": "function_call", "name": "search", "arguments": '{"q": "knee"}', "call_id": "1"},
        {"type": "function_call_output", "call_id": "1", "output": "Rest helps."},
        said([{"type": "output_text", "text": RESPONSE}]),
    ]
    params = {"input": PROMPT, "instructions": "Be kind."}
    row = await verified(
        client, nemo_gym(responses_create_params=params, response={"output": output}), "/verify?soft=true"
    )
    assert [one["p"] for one in row["rubric_evaluations"]] == [criterion.p for criterion in told.criteria]


async def test_without_an_answer_an_empty_one_is_judged(client: httpx.AsyncClient) -> None:
    same = await by_the_contract(client, response="")
    row = await verified(client, nemo_gym(response={"output": [{"type": "reasoning", "summary": []}]}))
    assert [one["p"] for one in row["rubric_evaluations"]] == [criterion.p for criterion in same.criteria]


async def test_a_reference_is_seen_by_the_judge(client: httpx.AsyncClient) -> None:
    same = await by_the_contract(client, reference="Rest.")
    row = await verified(client, nemo_gym(reference="Rest."))
    assert [one["p"] for one in row["rubric_evaluations"]] == [criterion.p for criterion in same.criteria]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (nemo_gym(rubric=[]), ["rubric", "criteria"]),
        (nemo_gym(rubric=None), []),
        (nemo_gym(responses_create_params={}), ["responses_create_params", "input"]),
        (nemo_gym(response={"output": [{"type": "computer_call"}, said("a")]}), ["response", "output", 0]),
        (
            nemo_gym(response={"output": [said([{"type": "output_audio"}])]}),
            ["response", "output", 0, "content", 0],
        ),
        (nemo_gym(reference=7), ["reference"]),
    ],
)
async def test_a_slip_is_refused_at_its_place(
    client: httpx.AsyncClient, body: dict[str, Any], place: list[str | int]
) -> None:
    assert only_place(await client.post("/verify", json=body)) == place


async def test_a_row_that_is_not_json_is_refused(client: httpx.AsyncClient) -> None:
    for body in (b"[]", b"nothing", b'{"rubric": NaN}', str(nemo_gym(extra=float("nan"))).replace("'", '"').encode()):
        problem(await client.post("/verify", content=body), 422)


@pytest.mark.parametrize(("fault", "status"), [("batch", "engine_error"), ("low_mass", "abstained")])
async def test_what_was_not_judged_is_marked_as_gym_marks_it(fault: Fault, status: str) -> None:
    async with failing(fault) as client:
        row = await verified(client, nemo_gym(instance_config={"keep": 1}))
    assert_failed(row)
    assert row["failure_reason"] == f"criteria without a verdict: {status} 2"
    assert row["instance_config"]["keep"] == 1
    assert row["response"] == nemo_gym()["response"]


async def test_a_judge_that_cannot_be_asked_has_failed_the_row_and_not_the_run() -> None:
    async with serving() as client:
        lifecycle = lifecycle_of(app_of(client))
        lifecycle.drain()
        await lifecycle.drained.wait()
        row = await verified(client, nemo_gym())
        problem(await client.post("/rm", json={}), 503)
    assert_failed(row)
    assert row["failure_reason"] == "unavailable: the service is shutting down"


async def test_what_an_earlier_verification_said_is_gone(client: httpx.AsyncClient) -> None:
    async with failing("batch") as broken:
        failed = await verified(broken, nemo_gym())
    row = await verified(client, failed)
    assert row["reward"] == (await by_the_contract(client)).score
    assert row["instance_config"] == {}
    assert not {"failure_kind", "failure_reason", "mask_sample", "_ng_failure_class"} & row.keys()


async def test_a_session_is_seeded_with_anything(client: httpx.AsyncClient) -> None:
    for body in ({}, {"responses_create_params": {"input": MESSAGES}, "rubric": RUBRIC}):
        answer = await client.post("/seed_session", json=body)
        assert (answer.status_code, answer.json()) == (200, {})
