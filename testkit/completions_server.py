"""Serves an OpenAI-compatible completions API of a made-up model, with faults by script."""

import asyncio
import hashlib
import json
import math
import random
from typing import Any

import httpx

from service.clock import ManualClock
from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, Outcome, Prompt
from service.engine.remote.engine import RemoteEngine

LABELS = (3, 8)


def truth(ids: tuple[int, ...]) -> list[float]:
    """Returns the made-up model's next-token probabilities, of a vocabulary of 40, from a hash of the prompt."""
    rng = random.Random(hashlib.sha256(repr(ids).encode()).digest())
    weights = [math.exp(rng.gauss(0, 3)) for _ in range(40)]
    return [weight / sum(weights) for weight in weights]


def generated(ids: tuple[int, ...], seed: int | None) -> tuple[str, int]:
    """Returns the made-up model's text and its number of tokens; a text of an even number is unfinished."""
    rng = random.Random(hashlib.sha256(repr((ids, seed)).encode()).digest())
    return f"because of {rng.random()}", rng.randint(1, 9)


class Server(httpx.AsyncBaseTransport):
    """An OpenAI-compatible server as vLLM 0.32 answers. `script` holds what happens to the calls, in order."""

    def __init__(
        self,
        *,
        exact: bool = True,
        by_id: bool = True,
        model: dict[str, Any] | None = None,
        version: str | None = "0.32.0",
    ) -> None:
        self.version = version
        self.exact = exact
        self.by_id = by_id
        self.models: list[dict[str, Any]] = [model or {"id": "judge", "root": "/m/judge", "max_model_len": 64}]
        self.script: list[Any] = []
        self.bodies: list[dict[str, Any]] = []
        self.requests: list[httpx.Request] = []
        self.in_flight = 0
        self.hanging = asyncio.Semaphore(0)
        self.max_in_flight = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.path
        if path.endswith("/v1/models"):
            return httpx.Response(200, json={"object": "list", "data": self.models})
        if path.endswith("/version"):
            return httpx.Response(200, json={"version": self.version}) if self.version else httpx.Response(404)
        assert path.endswith("/v1/completions"), path
        body = json.loads(await request.aread())
        self.bodies.append(body)
        fault = self.script.pop(0) if self.script else None
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)
            if isinstance(fault, Exception):
                raise fault
            if isinstance(fault, httpx.Response):
                return fault
            if fault == "hang":
                self.hanging.release()
                await asyncio.Event().wait()
            answer = self.answer(body)
            return self.encode(fault(answer) if callable(fault) else answer)
        finally:
            self.in_flight -= 1

    def encode(self, answer: Any) -> httpx.Response:
        if isinstance(answer, httpx.Response):
            return answer
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return httpx.Response(200, content=content, headers={"content-type": "application/json"})

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["model"] == self.models[0]["id"]
        usage = {"prompt_tokens": sum(map(len, body["prompt"]))}
        choose = self.choice
        if "logprobs" in body:
            assert body["max_tokens"] == 1 and body["temperature"] == 0
        else:
            (ids,) = body["prompt"]
            usage["completion_tokens"] = generated(tuple(ids), body.get("seed"))[1]
            choose = self.generated_choice
        choices = [choose(index, tuple(ids), body) for index, ids in enumerate(body["prompt"])]
        return {"object": "text_completion", "choices": choices, "usage": usage}

    def generated_choice(self, index: int, ids: tuple[int, ...], body: dict[str, Any]) -> dict[str, Any]:
        text, tokens = generated(ids, body.get("seed"))
        finish = "stop" if tokens % 2 else "length"
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
        return choice | ({"token_ids": [5] * tokens} if body.get("return_token_ids") else {})

    def choice(self, index: int, ids: tuple[int, ...], body: dict[str, Any]) -> dict[str, Any]:
        probabilities = truth(ids)
        ranked = sorted(range(40), key=lambda token: -probabilities[token])
        wanted = body.get("logprob_token_ids") if self.exact else None
        shown = [ranked[0], *wanted] if wanted else ranked[: body["logprobs"]]
        named = self.by_id and body.get("return_tokens_as_token_ids")
        top = {f"token_id:{token}" if named else f" w{token}": math.log(probabilities[token]) for token in shown}
        return {"index": index, "text": "w", "finish_reason": "length", "logprobs": {"top_logprobs": [top]}}


def prompts(n: int, seed: int = 0) -> list[Prompt]:
    rng = random.Random(seed)
    shared = tuple(rng.randrange(40) for _ in range(10))
    return [Prompt(shared, tuple(rng.randrange(40) for _ in range(rng.randint(1, 9)))) for _ in range(n)]


def right(prompt: Prompt, outcome: Outcome, tolerance: float = 1e-9) -> bool:
    assert isinstance(outcome, LabelLogprobs)
    met, unmet = (truth(prompt.ids)[label] for label in LABELS)
    ours = [math.exp(logprob) for logprob in outcome.logprobs]
    return abs(ours[0] / sum(ours) - met / (met + unmet)) <= tolerance


def right_generation(prompt: Prompt, outcome: GenerationOutcome, seed: int | None = None) -> bool:
    assert isinstance(outcome, Generation)
    text, tokens = generated(prompt.ids, seed)
    return (outcome.text, outcome.tokens, outcome.finished) == (text, tokens, tokens % 2 == 1)


async def connect(server: httpx.AsyncBaseTransport, **options: Any) -> RemoteEngine:
    """An engine whose time stands still unless a clock is given: it probes nothing by itself."""
    return await RemoteEngine.connect("http://judge.test", **{"transport": server, "clock": ManualClock(), **options})


def printed(label_ids: tuple[int, ...]) -> tuple[str, ...]:
    """The texts that the server has for tokens."""
    return tuple(f" w{id}" for id in label_ids)


def reorder(answer: Any) -> Any:
    answer["choices"].reverse()
    return answer


def drop(answer: Any) -> Any:
    answer["choices"].pop(0)
    return answer


def repeat(answer: Any) -> Any:
    answer["choices"].append(answer["choices"][0])
    return answer


def renumber(answer: Any) -> Any:
    answer["choices"][0]["index"] = len(answer["choices"])
    return answer


def same_number(answer: Any) -> Any:
    answer["choices"][-1]["index"] = answer["choices"][0]["index"] = 0
    return answer if len(answer["choices"]) > 1 else drop(answer)


def not_a_number(answer: Any) -> Any:
    answer["choices"][0]["logprobs"]["top_logprobs"][0]["token_id:3"] = math.nan
    return answer


def no_logprobs(answer: Any) -> Any:
    answer["choices"][0]["logprobs"] = None
    return answer


def cut(answer: Any) -> Any:
    answer["usage"]["prompt_tokens"] -= 1
    return answer


WHOLE: dict[str, Any] = {
    "few": drop,
    "many": repeat,
    "renumbered": renumber,
    "same number": same_number,
    "cut prompt": cut,
    "no JSON": lambda _: b"<html>",
    "half": lambda answer: json.dumps(answer).encode()[:-5],
    "500": httpx.Response(500, text="Traceback"),
    "503": httpx.Response(503),
    "400": httpx.Response(400, json={"error": {"message": "secret prompt text"}}),
    "302": httpx.Response(302, headers={"location": "http://elsewhere.test/"}),
    "204": httpx.Response(204),
    "not found": lambda answer: httpx.Response(404, json=answer),
    "refused": httpx.ConnectError("no"),
    "reset": httpx.ReadError("reset"),
    "slow": httpx.ReadTimeout("slow"),
    "protocol": httpx.RemoteProtocolError("bad"),
    "surprise": KeyError("what nobody thought of"),
}
ONE: dict[str, Any] = {"NaN": not_a_number, "no logprobs": no_logprobs}
FINE: dict[str, Any] = {"fine": None, "reordered": reorder}
