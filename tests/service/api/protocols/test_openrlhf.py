"""`/get_reward`: rewards as OpenRLHF wants them, or an error; never a number that nobody judged without a mark."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from service.engine.fake import Fault
from testkit.apps import fake_settings, serving
from tests.service.api.protocols.bodies import (
    LABEL,
    PROMPT,
    RESPONSE,
    RUBRIC,
    by_the_contract,
    failing,
    only_place,
    openrlhf,
    problem,
)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serving() as client:
        yield client


async def rewards(client: httpx.AsyncClient, body: dict[str, Any], url: str = "/get_reward") -> dict[str, Any]:
    answer = await client.post(url, json=body)
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


async def test_the_answer_is_what_follows_the_prompt_without_end_tokens(client: httpx.AsyncClient) -> None:
    body = openrlhf()
    same = await by_the_contract(client, prompt=body["prompts"][0])
    reply = await rewards(client, body, "/get_reward?soft=true")
    assert reply["rewards"] == reply["scores"] == [pytest.approx(_soft(same))]
    assert reply["extra_logs"] == {"judged": [1.0], "partial": [0.0], "coverage": [1.0]}


async def test_the_labels_prompt_is_what_the_judge_sees(client: httpx.AsyncClient) -> None:
    bare = await by_the_contract(client)
    conversation = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": PROMPT}]
    told = await by_the_contract(client, prompt=conversation)
    by_text = await rewards(client, openrlhf({**LABEL, "prompt": PROMPT, "soft": True}))
    by_turns = await rewards(client, openrlhf({**LABEL, "prompt": conversation, "soft": True}))
    assert by_text["rewards"] == [pytest.approx(_soft(bare))]
    assert by_turns["rewards"] == [pytest.approx(_soft(told))]
    assert by_text["rewards"] != by_turns["rewards"]


def _soft(result: Any) -> float:
    p = [criterion.p for criterion in result.criteria]
    return float(5 * p[0] - 3 * p[1]) / 5


@pytest.mark.parametrize(
    "label",
    [LABEL, {"criteria": RUBRIC}, RUBRIC, {"rubric": {"criteria": RUBRIC}}],
    ids=["object", "a rubric alone", "a list", "a rubric inside"],
)
@pytest.mark.parametrize("as_text", [True, False])
async def test_every_shape_of_rubric_is_a_label(client: httpx.AsyncClient, label: Any, as_text: bool) -> None:
    body = openrlhf(label) if as_text else openrlhf(labels=[label])
    assert (await rewards(client, body)) == (await rewards(client, openrlhf()))


async def test_rows_keep_their_order(client: httpx.AsyncClient) -> None:
    texts = [f"Response {n}." for n in range(6)]
    labels = [{**LABEL, "soft": True}] * 6
    many = await rewards(client, {"query": [f"p{text}" for text in texts], "prompts": ["p"] * 6, "labels": labels})
    alone = [
        (await rewards(client, {"query": [f"p{text}"], "prompts": ["p"], "labels": labels[:1]}))["rewards"][0]
        for text in texts
    ]
    assert many["rewards"] == alone
    assert len(set(alone)) == 6


async def test_options_come_from_the_label_before_the_url(client: httpx.AsyncClient) -> None:
    by_url = await rewards(client, openrlhf(), "/get_reward?soft=true&aggregation=weighted_abs")
    by_label = await rewards(client, openrlhf({**LABEL, "soft": True, "aggregation": "weighted_abs"}))
    over = await rewards(client, openrlhf({**LABEL, "soft": False}), "/get_reward?soft=true")
    assert by_url == by_label
    assert over == await rewards(client, openrlhf())
    assert by_url != over


SLIPS: dict[str, tuple[dict[str, Any], list[str | int]]] = {
    "no label": (openrlhf(labels=[""]), ["labels", 0]),
    "a null": (openrlhf(labels=[None]), ["labels", 0]),
    "a number": (openrlhf(labels=[42]), ["labels", 0]),
    "a plain answer": (openrlhf(labels=["42 it is"]), ["labels", 0]),
    "no rubric in it": (openrlhf({"reference": "Rest."}), ["labels", 0]),
    "a rubric of null": (openrlhf({"rubric": None}), ["labels", 0]),
    "an unknown field": (openrlhf({**LABEL, "weigth": 1}), ["labels", 0]),
    "a deadline of its own": (openrlhf({**LABEL, "deadline_ms": 5}), ["labels", 0]),
    "points as text": (openrlhf([{"text": "a", "points": "1"}]), ["labels", 0, "rubric", "criteria", 0, "points"]),
    "another prompt": (openrlhf(prompts=["Something else."]), ["query", 0]),
    "too few labels": (openrlhf(labels=[]), ["query"]),
    "too many prompts": (openrlhf(prompts=["", ""]), ["query"]),
    "a bare string": (openrlhf(query="a"), ["query"]),
    "nothing": (openrlhf(query=[], prompts=[], labels=[]), ["query"]),
}


@pytest.mark.parametrize(("body", "place"), SLIPS.values(), ids=SLIPS.keys())
async def test_a_slip_is_refused_at_its_place(
    client: httpx.AsyncClient, body: dict[str, Any], place: list[str | int]
) -> None:
    assert only_place(await client.post("/get_reward", json=body)) == place


async def test_a_slip_is_placed_in_its_own_row(client: httpx.AsyncClient) -> None:
    body = {"query": ["pa", "pb"], "prompts": ["p", "p"], "labels": [LABEL, [{"text": "a", "points": True}]]}
    place = ["labels", 1, "rubric", "criteria", 0, "points"]
    assert only_place(await client.post("/get_reward", json=body)) == place


async def test_an_aggregation_with_options_is_json_in_a_url(client: httpx.AsyncClient) -> None:
    chosen = {"name": "caps", "cap": 0.5}
    by_url = await rewards(client, openrlhf(), f"/get_reward?aggregation={quote(json.dumps(chosen))}")
    assert by_url == await rewards(client, openrlhf({**LABEL, "aggregation": chosen}))
    refused = await client.post(f"/get_reward?aggregation={quote(json.dumps({**chosen, 'cap': 2}))}", json=openrlhf())
    assert only_place(refused) == ["query", "aggregation", "cap"]


async def test_labels_of_one_request_choose_alike(client: httpx.AsyncClient) -> None:
    body = {"query": ["pa", "pb"], "prompts": ["p", "p"], "labels": [LABEL, {**LABEL, "soft": True}]}
    assert only_place(await client.post("/get_reward", json=body)) == ["labels", 1]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("soft=maybe", ["query", "soft"]),
        ("aggregation=best", ["query", "aggregation"]),
        ("votes=NaN", ["query", "votes"]),
        ("weigth=1", ["query"]),
        ("deadline_ms=5", ["query"]),
    ],
)
async def test_a_slip_in_the_url_is_refused_at_its_place(
    client: httpx.AsyncClient, query: str, place: list[str | int]
) -> None:
    assert only_place(await client.post(f"/get_reward?{query}", json=openrlhf())) == place


async def test_fields_that_openrlhf_may_add_are_let_be(client: httpx.AsyncClient) -> None:
    assert await rewards(client, openrlhf(images=[None], model={"a": 1})) == await rewards(client, openrlhf())


@pytest.mark.parametrize(
    ("fault", "status", "again"),
    [("batch", "engine_error", True), ("low_mass", "abstained", False), ("nan", "unparseable", False)],
)
async def test_what_was_not_judged_is_an_error(fault: Fault, status: str, again: bool) -> None:
    async with failing(fault) as client:
        answer = await client.post("/get_reward", json=openrlhf(RUBRIC[:1]))
        metrics = (await client.get("/metrics")).text
    found = problem(answer, 503)
    assert found.type == "urn:rubricd:problem:not_judged"
    assert f"{status} 1" in found.detail
    assert ("retry-after" in answer.headers) is again
    assert 'rubricd_refusals_total{code="not_judged",team="default"} 1.0' in metrics


THREE = {"query": ["pa", "pb", "pc"], "prompts": ["p"] * 3, "labels": [RUBRIC[:1]] * 3}


async def test_one_row_that_was_not_judged_is_an_error_for_all() -> None:
    async with failing("ok", "ok", "batch") as client:
        answer = await client.post("/get_reward", json=THREE)
    detail = problem(answer, 503).detail
    assert detail == "1 response(s) were not judged; criteria without a verdict: engine_error 1"


async def test_a_neutral_value_is_marked_and_counted() -> None:
    async with failing("ok", "batch", protocol_neutral=0.25) as client:
        reply = await rewards(client, THREE)
        metrics = (await client.get("/metrics")).text
    assert reply["extra_logs"]["judged"] == [1.0, 0.0, 0.0]
    assert reply["extra_logs"]["coverage"] == [1.0, 0.0, 0.0]
    assert reply["rewards"][1:] == reply["scores"][1:] == [0.25, 0.25]
    assert reply["rewards"][0] in (0.0, 1.0)
    assert 'rubricd_neutral_rewards_total{route="/get_reward"} 2.0' in metrics


async def test_a_part_is_a_reward_where_the_label_says_so() -> None:
    async with failing("ok", "batch") as client:
        reply = await rewards(client, openrlhf({**LABEL, "min_coverage": 0.2, "unjudged": "lower"}))
    assert 0 < reply["extra_logs"]["coverage"][0] < 1
    assert (reply["extra_logs"]["judged"], reply["extra_logs"]["partial"]) == ([1.0], [1.0])


async def test_end_tokens_are_those_of_the_setting() -> None:
    ending = openrlhf(query=[f"p{RESPONSE}</s><|im_end|><|im_end|>"], prompts=["p"])
    async with serving(settings=fake_settings(protocol_end_tokens=("<|im_end|>",))) as client:
        reply = await rewards(client, ending, "/get_reward?soft=true")
        kept = await by_the_contract(client, prompt="p", response=f"{RESPONSE}</s>")
    async with serving(settings=fake_settings(protocol_end_tokens=())) as client:
        raw = await rewards(client, ending, "/get_reward?soft=true")
        untouched = await by_the_contract(client, prompt="p", response=f"{RESPONSE}</s><|im_end|><|im_end|>")
    assert reply["rewards"] == [pytest.approx(_soft(kept))]
    assert raw["rewards"] == [pytest.approx(_soft(untouched))]
