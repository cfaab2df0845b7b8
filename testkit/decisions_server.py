"""Serves typed decisions of a made-up model over a transport, in both protocols, with faults by script."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx

from service.clock import Clock, SystemClock
from service.engine.decisions.engine import CRITERION, DecisionsEngine
from service.engine.decisions.protocol import ProtocolName
from service.engine.upstream.text_server import TextServerOptions

Fault = Exception | httpx.Response | Callable[[dict[str, Any]], Any] | str


def truth(state: Any, question: str) -> float:
    """P(met) by the made-up model: a hash of what is judged and asked."""
    digest = hashlib.sha256(json.dumps([state, question], sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


class DecisionsServer(httpx.AsyncBaseTransport):
    """`faults` holds what happens to the calls, in order; afterwards all are answered."""

    def __init__(self, model: str = "jev-1.13.0") -> None:
        self.model = model
        self.faults: list[Fault | None] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[httpx.Headers] = []
        self.hanging = asyncio.Semaphore(0)
        self.most_words = 10**9
        self.cost: float | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        self.bodies.append(body)
        self.headers.append(request.headers)
        fault = self.faults.pop(0) if self.faults else None
        await asyncio.sleep(0)
        if isinstance(fault, Exception):
            raise fault
        if isinstance(fault, httpx.Response):
            return fault
        if fault == "hang":
            self.hanging.release()
            await asyncio.Event().wait()
        if len(json.dumps(body)) > self.most_words:
            detail = {"error_type": "max_tokens_exceeded", "message": "too long"}
            return httpx.Response(413, json={"detail": detail})
        answer = self.system_one(body) if request.url.path.endswith("/v1/systemone") else self.openai(body)
        answer = fault(answer) if callable(fault) else answer
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return httpx.Response(200, content=content, headers={"content-type": "application/json"})

    def system_one(self, body: dict[str, Any]) -> dict[str, Any]:
        asked = {id: one["instructions"] for id, one in body["questions"].items()}
        answers = {id: {"type": "noul", "noul": truth(body["state"], text)} for id, text in asked.items()}
        return {"model": self.model, "answers": answers, "usage": self._usage()}

    def openai(self, body: dict[str, Any]) -> dict[str, Any]:
        answers = [
            {"type": "predicate", "name": one["name"], "probability": truth(body["input"], one["instructions"])}
            for one in body["questions"]
        ]
        return {"model": self.model, "answers": answers, "usage": self._usage()}

    def _usage(self) -> dict[str, Any]:
        return {"input_tokens": 50, "output_tokens": 2} | ({} if self.cost is None else {"cost": self.cost})


async def connect(
    server: httpx.AsyncBaseTransport,
    *,
    protocol: ProtocolName = "system_one",
    framing: str = CRITERION,
    questions_per_call: int = 64,
    clock: Clock | None = None,
    **more: Any,
) -> DecisionsEngine:
    more["clock"] = clock or SystemClock()
    options = TextServerOptions("decisions", "http://127.0.0.1/v1", "jev-latest", transport=server, **more)
    return await DecisionsEngine.connect(
        options, protocol=protocol, framing=framing, questions_per_call=questions_per_call
    )
