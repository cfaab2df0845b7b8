"""What the trainers send, with one rubric for all: two criteria, one of them a fault."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx

from service.engine.fake import FakeEngine, Fault, FaultPlan
from testkit.apps import CANARIES, fake_settings, serving
from trainer_client import wire

RUBRIC = [{"text": "Says to rest.", "points": 5}, {"text": "Says to run.", "points": -3}]
LABEL: dict[str, Any] = {"rubric": RUBRIC}
PROMPT, RESPONSE = "My knee hurts.", "Rest it."
MESSAGES = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": RESPONSE}]
SECRET = "CANARY-7f3a"


def openrlhf(label: Any = LABEL, **changes: Any) -> dict[str, Any]:
    query = f"<|user|>{PROMPT}<|assistant|>"
    return {"query": [f"{query}{RESPONSE}<|im_end|>"], "prompts": [query], "labels": [json.dumps(label)], **changes}


def slime(label: Any = LABEL, **changes: Any) -> dict[str, Any]:
    return {"prompt": PROMPT, "response": f"{RESPONSE}<|im_end|>", "label": json.dumps(label), **changes}


def nemo_gym(rubric: Any = RUBRIC, **changes: Any) -> dict[str, Any]:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": RESPONSE}]}
    return {
        "responses_create_params": {"input": [{"role": "user", "content": PROMPT}]},
        "response": {"id": "r1", "output": [{"type": "reasoning", "summary": []}, said]},
        "rubric": rubric,
        "uuid": 7,
        **changes,
    }


def eval_protocol(**changes: Any) -> dict[str, Any]:
    return {"messages": MESSAGES, "ground_truth": None, "kwargs": LABEL, **changes}


def decisions(*questions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    asked = questions or (predicate("Does it say to rest?", name="rest"), predicate("Does it say to run?"))
    return {"model": "any", "input": MESSAGES, "questions": list(asked), **changes}


def predicate(instructions: Any, **more: Any) -> dict[str, Any]:
    return {"type": "predicate", "instructions": instructions, **more}


JUDGING: dict[str, Callable[[], dict[str, Any]]] = {
    "/get_reward": openrlhf,
    "/rm": slime,
    "/verify": nemo_gym,
    "/evaluate": eval_protocol,
    "/v1/decisions": decisions,
}


def score_request(**item: Any) -> dict[str, Any]:
    """The same by the contract itself."""
    return {"items": [{"prompt": PROMPT, "response": RESPONSE, "rubric": RUBRIC, **item}]}


async def by_the_contract(client: httpx.AsyncClient, **item: Any) -> wire.Result:
    answer = await client.post("/v1/score", json=score_request(**item))
    assert answer.status_code == 200, answer.text
    return wire.ScoreResponse.model_validate_json(answer.content).results[0]


def after_canaries(*faults: Fault) -> FaultPlan:
    """The canaries are answered, one call each; then this, the last fault for good."""
    fine: tuple[Fault, ...] = ("ok",)
    return FaultPlan(script=fine * CANARIES + faults, rates={faults[-1]: 1.0})


def failing(*faults: Fault, **settings: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """A client of a judge that answers its canaries, then so, one question after the other; the last fault goes on."""
    engine = FakeEngine(plan=after_canaries(*faults))
    return serving(engine, settings=fake_settings(max_batch_tokens=1, max_in_flight=1, **settings))


def problem(answer: httpx.Response, status: int) -> wire.Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return wire.Problem.model_validate_json(answer.content)


def only_place(answer: httpx.Response) -> list[str | int]:
    """Where a 422 points, where it points to one place with a remedy."""
    [place] = problem(answer, 422).errors
    assert place.msg
    return place.loc
