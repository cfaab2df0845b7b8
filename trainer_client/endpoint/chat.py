"""Asks a chat model at an OpenAI-compatible endpoint, with the client's retries, and keeps its answers in a log.

Guarantees: a call ends in a whole answer or in one typed error. A request that the log has is not sent. A call for n
texts gives n, also where the endpoint writes fewer for a request.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import httpx

from trainer_client.endpoint.answer import ChatAnswer, Message, Usage, read_answer
from trainer_client.endpoint.log import AnswerLog, request_key
from trainer_client.endpoint.spending import Prices, Spending
from trainer_client.errors import ContractError
from trainer_client.http.retry import Clock, RetryPolicy
from trainer_client.http.transport import Transport

Constrain = Literal["schema", "object", "none"]
"""How a JSON answer is constrained: by its schema, to any JSON object, or by the prompt's words alone."""

_PATH = "/chat/completions"
# A model that writes long answers is slower than a judge; a rate limit is often counted by the minute.
TIMEOUT_S = 600.0
RETRY = RetryPolicy(attempts=6, first_wait_s=1.0, limited_s=3600.0)


class ChatEndpoint:
    """A chat model at `url`, the base of its API as the `openai` package takes it: `http://host:8000/v1`. A url without
    a path gets `/v1`. Close it after use, or use it in `async with`.

    `options` are more fields of each request; one that is None takes the field away.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        prices: Prices | None = None,
        log: AnswerLog | None = None,
        concurrency: int = 8,
        timeout_s: float = TIMEOUT_S,
        constrain: Constrain = "schema",
        options: Mapping[str, Any] | None = None,
        retry: RetryPolicy = RETRY,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.url = api_base(url)
        self.model = model
        self.spending = Spending(prices=prices)
        self._log = log
        self._constrain = constrain
        self._options = dict(options or {})
        self._transport = transport_to(
            url, key, concurrency=concurrency, timeout_s=timeout_s, retry=retry, transport=transport, clock=clock
        )

    async def __aenter__(self) -> "ChatEndpoint":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        n: int = 1,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
        json_schema: Mapping[str, Any] | None = None,
        logprobs: int | None = None,
    ) -> ChatAnswer:
        """`n` texts that continue the conversation. What is None is left to the endpoint. `logprobs` asks for each
        token's log-probability, and for so many of the likeliest in its place. Raises RubricdClientError.

        The same request gives the same texts where there is a log: who wants others asks with another seed.
        """
        sampling = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "seed": seed}
        body: dict[str, Any] = {"model": self.model, "messages": [dict(turn) for turn in messages], **sampling}
        body |= self._response_format(json_schema)
        if logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": logprobs or None}
        answer = await self._once({**body, "n": n if n > 1 else None})
        while len(answer.texts) < n:
            # Some servers ignore `n`. Another seed, because the same one would give the same text again.
            had = len(answer.texts)
            more = {"seed": None if seed is None else seed + had, "n": n - had if n - had > 1 else None}
            answer = _joined(answer, await self._once({**body, **more}))
        if len(answer.texts) > n:
            raise ContractError(f"asked for {n} texts, and {self.url} wrote {len(answer.texts)}")
        return answer

    def _response_format(self, json_schema: Mapping[str, Any] | None) -> dict[str, Any]:
        if json_schema is None or self._constrain == "none":
            return {}
        if self._constrain == "object":
            return {"response_format": {"type": "json_object"}}
        schema = {"name": "answer", "schema": dict(json_schema), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    async def _once(self, body: Mapping[str, Any]) -> ChatAnswer:
        """The answer to one request, from the log or from the endpoint."""
        body = {name: value for name, value in {**body, **self._options}.items() if value is not None}
        key = request_key(self.url, body)
        answer = None if self._log is None else self._log.find(key)
        if answer is None:
            answer = await self._asked(body)
            if self._log is not None:
                self._log.keep(key, answer)
        self.spending = self.spending.plus(answer)
        return answer

    async def _asked(self, body: Mapping[str, Any]) -> ChatAnswer:
        # Escaped, so that a lone surrogate in a row is no reason to fail.
        text = json.dumps(body)
        wants = "logprobs" in body
        return await self._transport.call(
            "POST", _PATH, lambda response: read_answer(response, logprobs=wants), body=lambda left_s: text
        )


def transport_to(
    url: str,
    key: str | None,
    *,
    concurrency: int,
    timeout_s: float = TIMEOUT_S,
    retry: RetryPolicy = RETRY,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock | None = None,
) -> Transport:
    """Calls of an OpenAI-compatible endpoint, with the client's retries."""
    return Transport(
        [api_base(url)],
        token=key,
        concurrency=concurrency,
        timeout_s=timeout_s,
        retry=retry,
        transport=transport,
        clock=clock or Clock(),
        rng=random.Random(),
    )


def api_base(url: str) -> str:
    """The base of the API that a person means by `url`."""
    base = url.rstrip("/").removesuffix(_PATH)
    try:
        return f"{base}/v1" if httpx.URL(base).path in ("", "/") else base
    except httpx.InvalidURL:
        return base  # the transport says what is wrong with it


def _joined(first: ChatAnswer, second: ChatAnswer) -> ChatAnswer:
    both = (first.usage, second.usage)
    usage = None
    if both[0] is not None and both[1] is not None:
        usage = Usage(
            both[0].prompt_tokens + both[1].prompt_tokens, both[0].completion_tokens + both[1].completion_tokens
        )
    return replace(
        first,
        texts=first.texts + second.texts,
        finish_reasons=first.finish_reasons + second.finish_reasons,
        logprobs=first.logprobs + second.logprobs,
        usage=usage,
        from_log=first.from_log and second.from_log,
    )
