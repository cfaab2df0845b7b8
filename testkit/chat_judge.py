"""Serves a chat API of a made-up judge over a transport: likely tokens, written verdicts, and faults by script."""

import asyncio
import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

import httpx

from service.engine.chat.engine import ChatEngine
from service.engine.upstream.text_server import TextServerOptions

Fault = Exception | httpx.Response | Callable[[dict[str, Any]], Any]


def truth(document: dict[str, Any]) -> float:
    """P(met) by the made-up judge: a hash of the document of a criterion."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def votes_of(document: dict[str, Any], seed: int) -> bool:
    """The vote that this seed draws."""
    digest = hashlib.sha256(json.dumps([document, seed], sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 < truth(document)


def one_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The document about one of several criteria, as this judge is asked about it alone."""
    alone = {key: value for key, value in document.items() if key != "criteria"}
    return {**alone, "criterion": document["criteria"][name]}


class ChatJudge(httpx.AsyncBaseTransport):
    """`faults` holds what happens to the calls, in order; afterwards all are answered. `tokens` is False for an API
    that refuses log-probabilities."""

    def __init__(self, *, tokens: bool = True, mass: float = 0.9) -> None:
        self.tokens = tokens
        self.mass = mass
        self.model = "gpt-judge-1"
        self.faults: list[Fault | None] = []
        self.bodies: list[dict[str, Any]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        self.bodies.append(body)
        fault = self.faults.pop(0) if self.faults else None
        await asyncio.sleep(0)
        if isinstance(fault, Exception):
            raise fault
        if isinstance(fault, httpx.Response):
            return fault
        if body.get("logprobs") and not self.tokens:
            return httpx.Response(400, json={"error": {"message": "logprobs are not supported"}})
        answer = self.answer(body)
        return httpx.Response(200, content=json.dumps(fault(answer) if callable(fault) else answer).encode())

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        document = json.loads(body["messages"][1]["content"])
        usage = {"prompt_tokens": 40, "completion_tokens": 1}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if body.get("logprobs"):
            p = truth(document)
            shares = {"Yes": 0.75 * p, " Yes": 0.25 * p, "No": 1 - p}
            top = [{"token": text, "logprob": math.log(max(self.mass * one, 1e-30))} for text, one in shares.items()]
            rest = [{"token": f"w{n}", "logprob": math.log((1 - self.mass) / 20)} for n in range(17)]
            choice |= {
                "message": {"content": "Yes"},
                "logprobs": {"content": [{"token": "Yes", "top_logprobs": top + rest}]},
            }
        else:
            written: dict[str, Any] = {"criteria_met": votes_of(document, body["seed"])}
            if "explanation" in json.dumps(body["response_format"]):
                written = {"explanation": f"because {body['seed']}", **written}
            if "criteria" in document:
                alone = [(name, one_of(document, name)) for name in document["criteria"]]
                written = {name: {**written, "criteria_met": votes_of(one, body["seed"])} for name, one in alone}
            choice |= {"message": {"content": json.dumps(written)}}
        return {"model": self.model, "choices": [choice], "usage": usage}


async def connect(server: httpx.AsyncBaseTransport, *, votes: int = 5, **more: Any) -> ChatEngine:
    options = TextServerOptions("chat", "http://127.0.0.1/v1", "judge", transport=server, **more)
    return await ChatEngine.connect(options, labels=("Yes", "No"), votes=votes)
