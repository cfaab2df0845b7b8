"""Queries a judge behind any OpenAI-compatible server, through `POST {base}/v1/completions` with token ids.

Token ids, because text would pass through the server's own tokenizer and a chat template, where untrusted text can
become control tokens. A label query generates one token, with the log-probabilities of the most likely tokens.

Guarantees: whatever happens to a call, each of its prompts has one outcome, and no other call is affected. Nothing is
retried here, no redirect is followed, no proxy is taken from the environment, and no text of a server's error is passed
on. `completions.py` says how responses are read, and what happens with a label that the server did not report.

The fingerprint holds what the server reports (the served model's id and root, vLLM's version) and what the operator
declares as `revision`. Other weights under the same name are the same judge to this engine; where that matters, serve
under a name that changes with the weights. `created` is left out: vLLM makes it up at each request.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Self

import httpx

from service.engine.base import EngineIdentity, GenerationOutcome, Outcome, Prompt, Sampling
from service.engine.remote.completions import at_path, read_generations, read_labels
from service.engine.remote.http import (
    STOPPED_REASON,
    CompletionsClient,
    http_timeout,
    parse_json,
    require_outcomes,
    split_into_calls,
)
from service.errors import ConfigurationError, EngineFailed, TooLong

_UNKNOWN_VERSION = "unknown"


class RemoteEngine:
    """An Engine over HTTP. Create one with `connect`."""

    streams = True
    restarts = 0

    def __init__(
        self,
        client: httpx.AsyncClient,
        identity: EngineIdentity,
        *,
        max_model_len: int,
        label_texts: tuple[str, ...] | None,
        top_k: int,
        prompts_per_call: int,
        max_concurrency: int,
        timeout_s: float,
        generation_timeout_s: float,
        vllm: bool,
        priorities: bool,
    ) -> None:
        self.identity = identity
        self.max_model_len = max_model_len
        self._client = client
        self._label_texts = label_texts
        self._top_k = top_k
        self._prompts_per_call = prompts_per_call
        self._completions = CompletionsClient(client, max_concurrency)
        self._timeout_s = timeout_s
        self._generation_timeout_s = generation_timeout_s
        self._vllm = vllm
        self._priorities = priorities
        self._stopped = False

    @classmethod
    async def connect(
        cls,
        base_url: str,
        *,
        model: str | None = None,
        revision: str = "undeclared",
        api_key: str | None = None,
        token_id_keys: bool = True,
        label_texts: tuple[str, ...] | None = None,
        top_k: int = 20,
        max_model_len: int | None = None,
        prompts_per_call: int = 16,
        max_concurrency: int = 32,
        timeout_s: float = 60.0,
        generation_timeout_s: float = 600.0,
        priorities: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> Self:
        """Finds out what the server serves. Raises ConfigurationError with what to change.

        `token_id_keys`: request tokens as `token_id:123` (vLLM), which is exact; vLLM >= 0.32 then also gets the label
        ids and reports them whatever their rank. Without it tokens are distinguished by their text as the server prints
        it, `label_texts` in the order of the label ids; two tokens that print the same cannot be distinguished then.
        `timeout_s` bounds a whole label query, `generation_timeout_s` a whole generation. `max_model_len`: taken from
        the server where it reports one. `priorities`: pass on the prompts' priorities, which vLLM refuses unless it was
        started with `--scheduling-policy priority`.
        """
        if not token_id_keys and (not label_texts or len(set(label_texts)) != len(label_texts)):
            raise ConfigurationError("without token_id_keys the judge needs label_texts, different from each other")
        url = _normalised(base_url)
        client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=http_timeout(timeout_s),
            limits=httpx.Limits(max_connections=max_concurrency + 1),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )
        try:
            card = _choose_model(await _list_models(client, url), model, url)
            length = _max_model_len(card, max_model_len, url)
            facts = {
                "server": url,
                "root": str(card.get("root")),
                "version": await _vllm_version(client),
                "labels_by": "id" if token_id_keys else "text: " + repr(label_texts),
                "top_k": str(top_k),
            }
        except BaseException:
            await client.aclose()
            raise
        return cls(
            client,
            EngineIdentity(model=str(card["id"]), revision=revision, engine="remote", facts=facts),
            max_model_len=length,
            label_texts=None if token_id_keys else label_texts,
            top_k=top_k,
            prompts_per_call=prompts_per_call,
            max_concurrency=max_concurrency,
            timeout_s=timeout_s,
            generation_timeout_s=generation_timeout_s,
            vllm=facts["version"] != _UNKNOWN_VERSION,
            priorities=priorities,
        )

    @property
    def down(self) -> str | None:
        return STOPPED_REASON if self._stopped else None

    @property
    def unfinished(self) -> int:
        """Prompts whose calls are waiting for a slot or for the server."""
        return self._completions.unfinished

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        if self._label_texts is not None and len(self._label_texts) != len(label_ids):
            raise ValueError("label_texts and label_ids are not equally many")
        self._require_running(prompts)
        outcomes: list[Outcome | None] = [self._too_long(prompt, 1) for prompt in prompts]
        fitting = [index for index, outcome in enumerate(outcomes) if outcome is None]
        calls = split_into_calls(prompts, fitting, self._prompts_per_call)
        results = await asyncio.gather(*(self._read_call([prompts[i] for i in call], label_ids) for call in calls))
        for call, result in zip(calls, results, strict=True):
            for index, outcome in zip(call, result, strict=True):
                outcomes[index] = outcome
        return require_outcomes(outcomes)

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        """Makes a call for each prompt, so that no answer waits for a longer one, and its tokens can be counted."""
        self._require_running(prompts)
        pairs = list(zip(prompts, samplings, strict=True))
        outcomes = await asyncio.gather(*(self._generate_one(prompt, sampling) for prompt, sampling in pairs))
        return require_outcomes(outcomes)

    def cancel(self, prompt: Prompt) -> None:
        self._completions.cancel(prompt)

    async def stop(self) -> None:
        self._stopped = True
        self._completions.stop()
        await self._client.aclose()

    def _require_running(self, prompts: Sequence[Prompt]) -> None:
        if not all(prompt.own for prompt in prompts):
            raise ValueError("a prompt's own part is never empty")
        if self._stopped:
            raise EngineFailed(STOPPED_REASON)

    def _too_long(self, prompt: Prompt, answer_tokens: int) -> TooLong | None:
        if len(prompt) + answer_tokens <= self.max_model_len:
            return None
        answer = "one answer token" if answer_tokens == 1 else f"{answer_tokens} answer tokens"
        return TooLong(f"{len(prompt)} prompt tokens and {answer} exceed {self.max_model_len}")

    async def _read_call(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        body = {**self._body(prompts), "max_tokens": 1, "temperature": 0, "logprobs": self._top_k}
        if self._label_texts is None:
            body |= {"return_tokens_as_token_ids": True, "logprob_token_ids": label_ids}
        return await self._completions.post(
            prompts,
            body,
            lambda response: read_labels(response, prompts, label_ids, self._label_texts, self._top_k),
            self._timeout_s,
        )

    async def _generate_one(self, prompt: Prompt, sampling: Sampling) -> GenerationOutcome:
        if (too_long := self._too_long(prompt, sampling.max_tokens)) is not None:
            return too_long
        body = self._body([prompt]) | _sampling_fields(sampling, vllm=self._vllm)
        outcomes = await self._completions.post(
            [prompt],
            body,
            lambda response: read_generations(response, [prompt], [sampling.max_tokens]),
            self._generation_timeout_s,
        )
        return outcomes[0]

    def _body(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """The fields that all calls have; salt and priority are those of the first prompt, and so of all."""
        body: dict[str, Any] = {"model": self.identity.model, "prompt": [prompt.ids for prompt in prompts]}
        if self._vllm and prompts[0].salt:
            body["cache_salt"] = prompts[0].salt
        if self._priorities and prompts[0].priority:
            body["priority"] = prompts[0].priority
        return body


def _sampling_fields(sampling: Sampling, *, vllm: bool) -> dict[str, Any]:
    """A sampling as fields of the body. vLLM takes a field that is missing from the model's own generation settings, so
    it gets all of them."""
    body: dict[str, Any] = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature, "top_p": 1}
    if vllm:
        body |= {"top_k": 0, "min_p": 0, "repetition_penalty": 1, "return_token_ids": True}
        body |= {"presence_penalty": 0, "frequency_penalty": 0}
    if sampling.temperature > 0:
        body["seed"] = sampling.seed
    if sampling.stop_ids:
        body["stop_token_ids"] = sampling.stop_ids
    if sampling.json_schema is not None and vllm:
        body["structured_outputs"] = {"json": sampling.json_schema}
    elif sampling.json_schema is not None:
        schema = {"name": "answer", "strict": True, "schema": json.loads(sampling.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _normalised(base_url: str) -> str:
    url = httpx.URL(base_url)
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise ConfigurationError("the judge's base URL must be http(s)://host[:port][/path], with no credentials in it")
    return str(url).rstrip("/").removesuffix("/v1")


async def _list_models(client: httpx.AsyncClient, url: str) -> list[dict[str, Any]]:
    try:
        response = await client.get("/v1/models")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConfigurationError(
            f"no answer from {url}/v1/models ({type(error).__name__}): start the judge's server or change its base URL"
        ) from error
    if response.status_code in (401, 403):
        raise ConfigurationError(f"{url} refuses the key: set the judge's API key")
    if response.status_code != httpx.codes.OK:
        raise ConfigurationError(
            f"{url}/v1/models answers {response.status_code}: the base URL must be that of an OpenAI-compatible server"
        )
    try:
        data = at_path(parse_json(response), "data")
    except EngineFailed:
        data = None
    cards = data if isinstance(data, list) else []
    return [card for card in cards if isinstance(card, dict) and isinstance(card.get("id"), str)]


def _choose_model(cards: list[dict[str, Any]], model: str | None, url: str) -> dict[str, Any]:
    names = [card["id"] for card in cards]
    if model is None and len(cards) == 1:
        return cards[0]
    if model in names:
        return cards[names.index(model)]
    advice = "set the judge's model" if model is None else f"it does not serve {model!r}; change the judge's model"
    raise ConfigurationError(f"{url} serves {', '.join(names) or 'no model'}: {advice}")


def _max_model_len(card: dict[str, Any], wanted: int | None, url: str) -> int:
    reported = card.get("max_model_len")
    lengths = [length for length in (wanted, reported) if type(length) is int and length > 1]
    if not lengths:
        raise ConfigurationError(f"{url} does not report its longest prompt: set max_model_len")
    return min(lengths)


async def _vllm_version(client: httpx.AsyncClient) -> str:
    """vLLM's version, from a route that other servers do not have."""
    try:
        response = await client.get("/version")
        version = at_path(parse_json(response), "version") if response.status_code == httpx.codes.OK else None
    except (httpx.HTTPError, EngineFailed):
        version = None
    return version if isinstance(version, str) else _UNKNOWN_VERSION
