"""Reasoning on every surface of the service: each form has the score of the plain answer or of the empty one."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.engine.fake import FakeEngine
from testkit.apps import CANARIES, fake_settings, item, serving
from testkit.metrics_page import page_of
from trainer_client import wire

ANSWER = '{"drink": "ginger tea"}'
RUBRIC = [
    {"text": "Tells the user to drink ginger tea.", "points": 7},
    {"text": "Tells the user to ignore the pain.", "points": -5},
    {"text": "Says ignore", "points": -3, "verifier": {"rule": "contains", "text": "ignore the pain"}},
    {"text": "Is JSON", "points": 2, "verifier": {"rule": "json_schema", "schema": {"required": ["drink"]}}},
    {"text": "Is exact", "points": 1, "verifier": {"rule": "exact", "gold": ANSWER}},
]
THOUGHT = "I could say: ignore the pain."
GPT_OSS = f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant"
FORMS = {
    "plain": ANSWER,
    "tagged": f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}",
    "prefilled": f"{THOUGHT}\n</think>\n\n{ANSWER}",
    "nested": f"<think>{THOUGHT}<think>a</think>{THOUGHT}</think>{ANSWER}",
    "repeated": f"<think>{THOUGHT}</think><think>{THOUGHT}</think>{ANSWER}",
    "channels": f"{GPT_OSS}<|channel|>final<|message|>{ANSWER}<|return|>",
    "another family": f"◁think▷{THOUGHT}◁/think▷{ANSWER}",
}
EMPTY = {
    "empty": "",
    "unclosed": f"<think>\n{THOUGHT}",
    "only reasoning": f"<think>\n{THOUGHT}\n</think>\n",
    "channels, unclosed": f"<|channel|>analysis<|message|>{THOUGHT}",
}
LABEL = {"rubric": RUBRIC}
PROMPT = "I have a stiff neck."


def _openrlhf(response: str, prefill: str = "") -> dict[str, Any]:
    prompt = f"<|im_start|>user\n{PROMPT}<|im_end|>\n<|im_start|>assistant\n{prefill}"
    label = json.dumps({**LABEL, "prompt": PROMPT})
    return {"query": [f"{prompt}{response}<|im_end|>"], "prompts": [prompt], "labels": [label]}


def _slime(response: str, prefill: str = "") -> dict[str, Any]:
    prompt = f"<|im_start|>assistant\n{prefill}"
    return {"prompt": prompt, "response": f"{response}<|im_end|>", "label": json.dumps({**LABEL, "prompt": PROMPT})}


def _nemo_gym(response: str) -> dict[str, Any]:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": response}]}
    row = {"responses_create_params": {"input": PROMPT}, "response": {"output": [said]}}
    return {**row, "rubric": RUBRIC}


def _messages(response: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": response}]


SURFACES: dict[str, tuple[str, Callable[[str], dict[str, Any]], Callable[[Any], Any]]] = {
    "wire": (
        "/v1/score",
        lambda response: {"items": [{"prompt": PROMPT, "response": response, **LABEL}], "reasoning": "remove"},
        lambda reply: reply["results"][0]["score"],
    ),
    "wire, a group": (
        "/v1/score",
        lambda response: {"items": [{"prompt": PROMPT, "responses": [response], **LABEL}], "reasoning": "remove"},
        lambda reply: reply["results"][0]["score"],
    ),
    "OpenRLHF": ("/get_reward?reasoning=remove", _openrlhf, lambda reply: reply["rewards"][0]),
    "slime": ("/rm?reasoning=remove", _slime, lambda reply: reply),
    "NeMo-Gym": ("/verify?reasoning=remove", _nemo_gym, lambda reply: reply["reward"]),
    "eval-protocol": (
        "/evaluate",
        lambda response: {"messages": _messages(response), "kwargs": {**LABEL, "reasoning": "remove"}},
        lambda reply: reply["score"],
    ),
    "decisions": (
        "/v1/decisions?reasoning=remove",
        lambda response: {
            "model": "any",
            "input": _messages(response),
            "questions": [{"type": "predicate", "instructions": "Is it about tea?"}],
        },
        lambda reply: reply["answers"][0]["probability"],
    ),
}


async def _posted(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("surface", SURFACES)
async def test_every_form_has_the_score_of_its_answer(surface: str) -> None:
    path, body, score = SURFACES[surface]
    async with serving() as client:
        for forms in (FORMS, EMPTY):
            found = {form: score(await _posted(client, path, body(text))) for form, text in forms.items()}
            assert len(set(found.values())) == 1, found
        kept = score(await _posted(client, path.partition("?")[0], {**body(FORMS["tagged"]), **_kept(surface)}))
        assert kept != found["empty"]


def _kept(surface: str) -> dict[str, Any]:
    return {"reasoning": "keep"} if surface.startswith("wire") else {"kwargs": LABEL} if "eval" in surface else {}


@pytest.mark.parametrize(("path", "body"), [("/get_reward", _openrlhf), ("/rm", _slime)])
async def test_a_prompt_that_opens_the_reasoning_says_so(path: str, body: Callable[[str, str], dict[str, Any]]) -> None:
    """There the response never holds an opening tag, and one that was cut holds no tag at all."""
    async with serving(settings=fake_settings(protocol_reasoning="remove")) as client:
        empty = await _posted(client, path, body("", ""))
        assert await _posted(client, path, body(THOUGHT, "<think>\n")) == empty
        assert await _posted(client, path, body("", "<think>\n")) == empty
        answer = await _posted(client, path, body(ANSWER, ""))
        assert await _posted(client, path, body(f"{THOUGHT}</think>{ANSWER}", "<think>\n")) == answer
    async with serving() as client:
        assert await _posted(client, path, body(THOUGHT, "<think>\n")) == await _posted(client, path, body(THOUGHT, ""))


async def _result(client: httpx.AsyncClient, response: str, **options: Any) -> wire.Result:
    body = {"items": [item(response=response)], **options}
    return wire.ScoreResponse.model_validate(await _posted(client, "/v1/score", body)).results[0]


async def test_by_default_nothing_is_taken_off_and_reasoning_is_reported() -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        tagged = await _result(client, "<think>a</think>Rest it.")
        quoting = await _result(client, "Close it with `</think>`.")
        plain = await _result(client, "Rest it.")
        page = await page_of(client)
    assert [warning.code for warning in tagged.warnings] == ["reasoning_kept", "toy_judge"]
    assert "reasoning: remove" in tagged.warnings[0].detail
    assert [warning.code for warning in (*quoting.warnings, *plain.warnings)] == ["toy_judge"] * 2
    assert page("rubricd_reasoning_total", outcome="kept") == 1
    assert engine.prompts == CANARIES + 6, "three texts, two criteria"


async def test_an_answer_that_is_not_there_is_named() -> None:
    async with serving() as client:
        unfinished = await _result(client, "<think>a", reasoning="remove")
        empty = await _result(client, "<think>a</think>", reasoning="remove")
        whole = await _result(client, "<think>a</think>Rest it.", reasoning="remove")
        page = await page_of(client)
    codes = [[warning.code for warning in one.warnings] for one in (unfinished, empty, whole)]
    assert codes == [["reasoning_unfinished", "toy_judge"], ["answer_empty", "toy_judge"], ["toy_judge"]]
    for outcome in ("removed", "unfinished", "no_answer"):
        assert page("rubricd_reasoning_total", outcome=outcome) == 1


async def test_own_tags_and_a_template_that_opens_them() -> None:
    tags = {"open": "<plan>", "close": "</plan>"}
    async with serving() as client:
        plain = (await _result(client, "Rest it.")).criteria
        assert [one.p for one in (await _result(client, "<plan>a</plan>Rest it.", reasoning=tags)).criteria] == [
            one.p for one in plain
        ]
        cut = await _result(client, "a, and then", reasoning={**tags, "prefilled": True})
        assert [warning.code for warning in cut.warnings] == ["reasoning_unfinished", "toy_judge"]
        text = "It ends with </plan> here."
        same = await _result(client, text, reasoning={**tags, "prefilled": False})
        assert [one.p for one in same.criteria] == [one.p for one in (await _result(client, text)).criteria]


async def test_a_verdict_is_shared_by_all_who_are_shown_the_same_answer() -> None:
    """What is taken off is in no cache key, because nobody sees it."""
    async with serving() as client:
        await _result(client, "Rest it.")
        again = await _result(client, "<think>a</think>Rest it.", reasoning="remove")
        kept = await _result(client, "<think>a</think>Rest it.")
    assert {one.source for one in again.criteria} == {"cache"}
    assert {one.source for one in kept.criteria} == {"judge"}


@pytest.mark.parametrize(
    "reasoning",
    ["drop", {"open": "<a>"}, {"open": "<a>", "close": "<a>"}, {"open": " ", "close": "x"}, {"open": "", "close": "x"}],
)
async def test_a_wrong_choice_is_refused_at_its_place(reasoning: Any) -> None:
    async with serving() as client:
        answer = await client.post("/v1/score", json={"items": [item()], "reasoning": reasoning})
    assert answer.status_code == 422
    assert all(error["loc"][0] == "reasoning" for error in answer.json()["errors"])


async def test_a_policy_that_does_not_reason_and_quotes_a_tag_loses_nothing() -> None:
    texts = ["Write </think> to end it.", "Between <think> and </think> it reasons.", "`</think>`"]
    async with serving() as client:
        for text in texts:
            kept = await _result(client, text)
            assert kept.score is not None
        quoted = await _result(client, texts[2], reasoning="remove")
    assert [one.source for one in quoted.criteria] == ["cache", "cache"]
