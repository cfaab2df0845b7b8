"""`/rm`: the JSON is the reward. A bare number is always a judged one."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from testkit.apps import serving
from tests.service.api.protocols.bodies import (
    LABEL,
    MESSAGES,
    PROMPT,
    RUBRIC,
    by_the_contract,
    failing,
    only_place,
    problem,
    slime,
)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serving() as client:
        yield client


async def reply(client: httpx.AsyncClient, body: dict[str, Any], url: str = "/rm") -> Any:
    answer = await client.post(url, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


async def test_the_reply_is_the_number(client: httpx.AsyncClient) -> None:
    same = await by_the_contract(client)
    assert await reply(client, slime()) == same.score
    assert await reply(client, slime(label=LABEL)) == same.score


async def test_an_object_is_the_reply_where_it_is_asked_for(client: httpx.AsyncClient) -> None:
    same = await by_the_contract(client)
    marks = {"judged": True, "partial": False, "coverage": 1.0}
    assert await reply(client, slime(), "/rm?reply=object") == {"reward": same.score, **marks}


async def test_a_prompt_of_messages_is_the_conversation(client: httpx.AsyncClient) -> None:
    turns = [
        *MESSAGES,
        {"role": "user", "content": [{"type": "text", "text": "And "}, {"type": "text", "text": "now?"}]},
    ]
    told = await by_the_contract(client, prompt=[*MESSAGES, {"role": "user", "content": "And now?"}])
    soft = float(5 * (told.criteria[0].p or 0) - 3 * (told.criteria[1].p or 0)) / 5
    assert await reply(client, slime(prompt=turns), "/rm?soft=true") == pytest.approx(soft)
    assert await reply(client, slime(), "/rm?soft=true") != pytest.approx(soft)
    own = slime({**LABEL, "prompt": PROMPT}, prompt=[{"role": "tool", "content": None}])
    assert await reply(client, own, "/rm?soft=true") == await reply(client, slime(), "/rm?soft=true")


async def test_a_rating_needs_no_rubric(client: httpx.AsyncClient) -> None:
    rated = await reply(client, slime({"reference": "Rest."}), "/rm?mode=likert&rating_norm=r/10")
    assert 0.1 <= rated <= 1
    assert await reply(client, slime({"mode": "likert", "rating_norm": "r/10", "reference": "Rest."})) == rated


SLIPS: dict[str, tuple[dict[str, Any], list[str | int]]] = {
    "no label": ({"prompt": "a", "response": "b"}, ["label"]),
    "a plain label": (slime(label="Paris"), ["label"]),
    "a rubric of nothing": (slime([]), ["label", "rubric", "criteria"]),
    "an unknown option": (slime({**LABEL, "mode": "best"}), ["label", "mode"]),
    "no response": ({"prompt": "a", "label": LABEL}, ["response"]),
    "an image": (slime(prompt=[{"role": "user", "content": [{"type": "image"}]}]), ["prompt", 0, "content", 0]),
    "an unknown role": (slime(prompt=[{"role": "critic", "content": "a"}]), ["prompt", 0]),
    "a call": (slime(prompt=[{"role": "assistant", "content": "", "tool_calls": [{}]}]), ["prompt", 0, "tool_calls"]),
    "a message that is none": (slime(prompt=["a"]), ["prompt", 0]),
}


@pytest.mark.parametrize(("body", "place"), SLIPS.values(), ids=SLIPS.keys())
async def test_a_slip_is_refused_at_its_place(
    client: httpx.AsyncClient, body: dict[str, Any], place: list[str | int]
) -> None:
    assert only_place(await client.post("/rm", json=body)) == place


async def test_an_unknown_kind_of_reply_is_refused(client: httpx.AsyncClient) -> None:
    assert only_place(await client.post("/rm?reply=text", json=slime())) == ["query"]


@pytest.mark.parametrize("url", ["/rm", "/rm?reply=object"])
async def test_what_was_not_judged_is_an_error(url: str) -> None:
    async with failing("batch") as client:
        answer = await client.post(url, json=slime())
    assert problem(answer, 503).type == "urn:rubricd:problem:not_judged"
    assert "engine_error 2" in answer.text
    assert answer.headers["retry-after"] == "1"


async def test_a_neutral_value_comes_only_beside_its_mark() -> None:
    async with failing("batch", protocol_neutral=0.0) as client:
        bare = await client.post("/rm", json=slime())
        marked = await reply(client, slime(), "/rm?reply=object")
        metrics = (await client.get("/metrics")).text
    assert problem(bare, 503).type == "urn:rubricd:problem:not_judged"
    assert marked == {"reward": 0.0, "judged": False, "partial": False, "coverage": 0.0}
    assert 'rubricd_neutral_rewards_total{route="/rm"} 1.0' in metrics


async def test_a_rubric_in_which_nothing_counts_has_no_reward(client: httpx.AsyncClient) -> None:
    answer = await client.post("/rm", json=slime([{**RUBRIC[0], "points": 0}]))
    assert problem(answer, 503).detail.endswith("nothing in this rubric counts")


async def test_a_part_is_a_reward_in_an_object_that_marks_it() -> None:
    label = {**LABEL, "min_coverage": 0.2, "unjudged": "lower"}
    async with failing("ok", "batch") as client:
        marked = await reply(client, slime(label), "/rm?reply=object")
        assert (marked["judged"], marked["partial"]) == (True, True)
        assert 0 < marked["coverage"] < 1
        assert only_place(await client.post("/rm", json=slime(label))) == ["query"]
