"""`/v1/decisions`: a probability for each predicate, a refusal where there is no verdict."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from testkit.apps import fake_settings, serving
from tests.service.api.protocols.bodies import (
    MESSAGES,
    PROMPT,
    RESPONSE,
    by_the_contract,
    decisions,
    failing,
    only_place,
    predicate,
    problem,
)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serving() as client:
        yield client


def choice(instructions: str, *values: str | bool, **more: Any) -> dict[str, Any]:
    return {"type": "choice", "instructions": instructions, "choices": [{"value": one} for one in values], **more}


def score(instructions: str, *labels: str) -> dict[str, Any]:
    return {"type": "score", "instructions": instructions, "levels": [{"label": one} for one in labels]}


QUESTIONS = [{"text": "Does it say to rest?", "points": 1}, {"text": "Does it say to run?", "points": 1}]


async def decided(client: httpx.AsyncClient, body: dict[str, Any], url: str = "/v1/decisions") -> dict[str, Any]:
    answer = await client.post(url, json=body)
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


def probabilities(reply: dict[str, Any]) -> list[float]:
    return [answer["probability"] for answer in reply["answers"]]


async def told(client: httpx.AsyncClient, **item: Any) -> list[float | None]:
    return [one.p for one in (await by_the_contract(client, rubric=QUESTIONS, **item)).criteria]


async def test_answers_stand_in_the_order_of_the_questions(client: httpx.AsyncClient) -> None:
    reply = await decided(client, decisions())
    assert reply["model"] == "fake"
    assert [(one["type"], one["name"]) for one in reply["answers"]] == [("predicate", "rest"), ("predicate", None)]
    usage = reply["usage"]
    assert usage["input_tokens"] == usage["total_tokens"] > 0
    assert usage["output_tokens"] == 0
    assert probabilities(reply) == await told(client)


@pytest.mark.parametrize(
    ("input", "prompt", "response"),
    [
        (RESPONSE, [], RESPONSE),
        ([{"role": "user", "content": [{"type": "input_text", "text": RESPONSE}]}], [], RESPONSE),
        (MESSAGES[:1], [], PROMPT),
        (
            [*MESSAGES, {"type": "message", "role": "user", "content": [{"type": "input_json", "data": {"a": [1]}}]}],
            MESSAGES,
            '{"a":[1]}',
        ),
        (
            [
                *MESSAGES[:1],
                {"type": "custom_tool_call", "name": "look", "input": "knee", "call_id": "1"},
                {"type": "custom_tool_call_output", "call_id": "1", "output": "swollen"},
            ],
            [
                *MESSAGES[:1],
                {"role": "assistant", "content": "", "tool_calls": [{"name": "look", "arguments": "knee"}]},
            ],
            "swollen",
        ),
        ([{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}], [], "No."),
    ],
)
async def test_the_last_message_is_judged_after_those_before_it(
    client: httpx.AsyncClient, input: Any, prompt: Any, response: str
) -> None:
    assert probabilities(await decided(client, decisions(input=input))) == await told(
        client, prompt=prompt, response=response
    )


async def test_a_choice_and_a_score_are_answered_from_a_predicate_for_each_option(client: httpx.AsyncClient) -> None:
    asked = decisions(
        choice("What should be done?", "rest", True, "run", name="what"),
        score("How bad is it?", "mild", "bad"),
        predicate("Does it say to rest?"),
    )
    [chosen, scored, plain] = (await decided(client, asked))["answers"]
    texts = ["What should be done?\nThe answer is: rest", "What should be done?\nThe answer is: true"]
    texts += ["What should be done?\nThe answer is: run", "How bad is it?\nThe level is: 0 (mild)"]
    texts += ["How bad is it?\nThe level is: 1 (bad)", "Does it say to rest?"]
    told = await by_the_contract(client, rubric=[{"text": text, "points": 1} for text in texts])
    p = [one.p for one in told.criteria if one.p is not None]
    shares = [one / sum(p[:3]) for one in p[:3]]
    assert chosen["probabilities"] == [
        {"value": value, "probability": share} for value, share in zip(("rest", True, "run"), shares, strict=True)
    ]
    assert (chosen["type"], chosen["name"]) == ("choice", "what")
    assert chosen["choice"] == ("rest", True, "run")[shares.index(max(shares))]
    assert [one["label"] for one in scored["probabilities"]] == ["mild", "bad"]
    assert scored["score"] == pytest.approx(p[4] / (p[3] + p[4])) and plain["probability"] == p[5]


async def test_a_choice_of_which_one_option_has_no_verdict_is_a_refusal() -> None:
    async with failing("ok", "low_mass") as client:
        reply = await decided(client, decisions(choice("a", "rest", "run", name="what")))
    assert reply["answers"] == [{"type": "refusal", "name": "what"}]


async def test_a_question_of_parts_is_its_text(client: httpx.AsyncClient) -> None:
    parts = [{"type": "input_text", "text": "Does it say "}, {"type": "input_text", "text": "to rest?"}]
    [p] = probabilities(await decided(client, decisions(predicate(parts))))
    assert p == (await told(client))[0]


async def test_what_openai_may_add_is_let_be(client: httpx.AsyncClient) -> None:
    more = decisions(prompt_cache_key="k", prompt_cache_options={"mode": "explicit"}, safety_identifier="s")
    assert probabilities(await decided(client, more)) == await told(client)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (decisions({"type": "choice", "instructions": "a", "choices": []}), ["questions", 0, "choices"]),
        (decisions(choice("a", "b", "b", "a")), ["questions", 0, "choices"]),
        (decisions(choice("a", *map(str, range(256)))), ["questions", 0, "choices"]),
        (decisions(predicate("a"), {"type": "score", "instructions": "a"}), ["questions", 1, "levels"]),
        (decisions(score("a", *"abcdefghijk")), ["questions", 0, "levels"]),
        (decisions({"type": "box", "instructions": "a"}), ["questions", 0, "type"]),
        (decisions(predicate([{"type": "input_image"}])), ["questions", 0, "instructions", 0]),
        (decisions(predicate(" ")), ["questions", 0, "instructions"]),
        (decisions(questions=[]), ["questions"]),
        (decisions(questions=[predicate("a")] * 401), ["questions"]),
        (decisions(input=[]), ["input"]),
        (decisions(input=[{"type": "item_reference"}]), ["input", 0]),
        (decisions(input=[{"role": "user", "content": [{"type": "input_image"}]}]), ["input", 0, "content", 0]),
        ({"input": "a", "questions": [predicate("a")]}, ["model"]),
    ],
)
async def test_what_this_judge_cannot_do_is_refused_at_its_place(
    client: httpx.AsyncClient, body: dict[str, Any], place: list[str | int]
) -> None:
    assert only_place(await client.post("/v1/decisions", json=body)) == place


async def test_a_rating_is_no_decision(client: httpx.AsyncClient) -> None:
    assert only_place(await client.post("/v1/decisions?mode=implicit", json=decisions())) == ["query"]


async def test_a_question_without_a_verdict_is_a_refusal() -> None:
    async with failing("ok", "low_mass") as client:
        reply = await decided(client, decisions())
    first, second = reply["answers"]
    assert sorted(one["type"] for one in (first, second)) == ["predicate", "refusal"]
    assert (first["name"], second["name"]) == ("rest", None)
    assert all(("probability" in one) == (one["type"] == "predicate") for one in (first, second))


async def test_the_judge_can_be_pinned(client: httpx.AsyncClient) -> None:
    problem(await client.post("/v1/decisions?expect_judge=other", json=decisions()), 409)


async def test_more_questions_than_the_service_takes_are_refused() -> None:
    async with serving(settings=fake_settings(max_criteria=1, max_items=1)) as client:
        problem(await client.post("/v1/decisions", json=decisions()), 422)
