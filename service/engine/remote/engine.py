"""Queries a judge behind any OpenAI-compatible server, through `POST {base}/v1/completions` with token ids.

Token ids, because text would pass through the server's own tokenizer and a chat template, where untrusted text can
become control tokens. A label query generates one token, with the log-probabilities of the most likely tokens.

Guarantees: whatever happens to a call, each of its prompts has one outcome, and no other call is affected. Nothing is
retried here, no redirect is followed, no proxy is taken from the environment, and no text of a server's error is passed
on. `completions.py` says how responses are read, and what happens with a label that the server did not report.

The fingerprint holds what the server reports (the served model's id and root, vLLM's version) and what the operator
declares as `revision`. The server is asked for these again for every new connection, after every failed call and every
few seconds, and where one of them differs the engine is down. Other weights under the same name are the same judge to
this engine; where that matters, serve under a name that changes with the weights. `created` is left out: vLLM makes it
up at each request.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Self

import httpx

from service.clock import Clock, SystemClock
from service.engine.base import EngineIdentity, GenerationOutcome, LabelLogprobs, Outcome, Prompt, Sampling
from service.engine.remote.completions import read_generations, read_labels
from service.engine.remote.dialect import COMPLETIONS, split_into_calls
from service.engine.remote.identity import UNKNOWN_VERSION, NotAnswered, ServedJudge, first_look, look_again
from service.engine.upstream.calls import STOPPED_REASON, JudgeCalls, require_outcomes
from service.engine.upstream.client import open_client
from service.engine.upstream.state import Busy, Changed, Upstream
from service.engine.upstream.urls import base_url as checked_url
from service.errors import ConfigurationError, EngineFailed, JudgeBusy, TooLong

LabelTexts = Callable[[tuple[int, ...]], tuple[str, ...]]

_ASK_TIMEOUT_S = 10.0


class RemoteEngine:
    """An Engine over HTTP. Create one with `connect`."""

    streams = True
    restarts = 0

    def __init__(
        self,
        client: httpx.AsyncClient,
        served: ServedJudge,
        identity: EngineIdentity,
        *,
        max_model_len: int,
        label_texts: LabelTexts | None,
        top_k: int,
        prompts_per_call: int,
        max_concurrency: int,
        timeout_s: float,
        generation_timeout_s: float,
        priorities: bool,
        clock: Clock,
    ) -> None:
        self.identity = identity
        self.max_model_len = max_model_len
        self._client = client
        self._served = served
        self._label_texts = label_texts
        self._top_k = top_k
        self._prompts_per_call = prompts_per_call
        self._upstream = Upstream(clock, self._probe)
        self._completions = JudgeCalls(client, COMPLETIONS, max_concurrency, self._upstream, self._confirm)
        self._timeout_s = timeout_s
        self._generation_timeout_s = generation_timeout_s
        self._vllm = served.version != UNKNOWN_VERSION
        self._priorities = priorities
        self._stopped = False
        self._read_before: tuple[Prompt, tuple[int, ...]] | None = None
        self._watching = asyncio.create_task(self._upstream.run(), name="remote upstream")

    @classmethod
    async def connect(
        cls,
        base_url: str,
        *,
        model: str | None = None,
        revision: str = "undeclared",
        api_key: str | None = None,
        label_texts: LabelTexts | None = None,
        top_k: int = 20,
        max_model_len: int | None = None,
        prompts_per_call: int = 16,
        max_concurrency: int = 32,
        timeout_s: float = 60.0,
        generation_timeout_s: float = 600.0,
        priorities: bool = False,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> Self:
        """Finds out what the server serves. Raises ConfigurationError with what to change.

        `label_texts`: None requests tokens as `token_id:123` (vLLM), which is exact; vLLM >= 0.32 then also gets the
        label ids and reports them whatever their rank. Otherwise tokens are distinguished by their text as the server
        prints it, which this gives for label ids. `timeout_s` bounds a whole label query, `generation_timeout_s` a
        whole generation. `max_model_len`: taken from the server where it reports one. `priorities`: pass on the
        prompts' priorities, which vLLM refuses unless it was started with `--scheduling-policy priority`.
        """
        url = checked_url(base_url, "remote_url")
        client = open_client(
            url,
            api_key,
            timeout_s=min(timeout_s, _ASK_TIMEOUT_S),
            connections=max_concurrency + 2,  # besides calls, who asks and who confirms
            transport=transport,
        )
        try:
            served = await first_look(client, url, model)
            length = longest_prompt(served, max_model_len, url)
        except BaseException:
            await client.aclose()
            raise
        facts = {
            "server": url,
            "root": served.root,
            "version": served.version,
            "labels_by": "id" if label_texts is None else "text",
            "top_k": str(top_k),
        }
        return cls(
            client,
            served,
            EngineIdentity(model=served.model, revision=revision, engine="remote", facts=facts),
            max_model_len=length,
            label_texts=label_texts,
            top_k=top_k,
            prompts_per_call=prompts_per_call,
            max_concurrency=max_concurrency,
            timeout_s=timeout_s,
            generation_timeout_s=generation_timeout_s,
            priorities=priorities,
            clock=clock or SystemClock(),
        )

    @property
    def down(self) -> str | None:
        return STOPPED_REASON if self._stopped else self._upstream.reason

    @property
    def pause_s(self) -> float:
        return self._upstream.pause_s

    @property
    def unfinished(self) -> int:
        """Prompts whose calls are waiting for a slot or for the server."""
        return self._completions.unfinished

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        self._require_running(prompts)
        outcomes: list[Outcome | None] = [self._too_long(prompt, 1) for prompt in prompts]
        fitting = [index for index, outcome in enumerate(outcomes) if outcome is None]
        calls = split_into_calls(prompts, fitting, self._prompts_per_call)
        results = await asyncio.gather(*(self._read_call([prompts[i] for i in call], label_ids) for call in calls))
        for call, result in zip(calls, results, strict=True):
            for index, outcome in zip(call, result, strict=True):
                outcomes[index] = outcome
        if self._read_before is None and fitting and isinstance(outcomes[fitting[0]], LabelLogprobs):
            self._read_before = prompts[fitting[0]], label_ids
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
        self._watching.cancel()
        self._completions.stop()
        await self._client.aclose()

    def _require_running(self, prompts: Sequence[Prompt]) -> None:
        if not all(prompt.own for prompt in prompts):
            raise ValueError("a prompt's own part is never empty")
        if (down := self.down) is not None:
            raise EngineFailed(down)

    def _too_long(self, prompt: Prompt, answer_tokens: int) -> TooLong | None:
        if len(prompt) + answer_tokens <= self.max_model_len:
            return None
        answer = "one answer token" if answer_tokens == 1 else f"{answer_tokens} answer tokens"
        return TooLong(f"{len(prompt)} prompt tokens and {answer} exceed {self.max_model_len}")

    async def _read_call(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        body, parse = self._label_call(prompts, label_ids)
        return await self._completions.post(prompts, body, parse, self._timeout_s)

    def _label_call(
        self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]
    ) -> tuple[dict[str, Any], Callable[[Any], list[Outcome]]]:
        """The body of a label query, and what reads its response."""
        body = {**self._body(prompts), "max_tokens": 1, "temperature": 0, "logprobs": self._top_k}
        texts = None if self._label_texts is None else self._label_texts(label_ids)
        if texts is None:
            body |= {"return_tokens_as_token_ids": True, "logprob_token_ids": label_ids}
        return body, lambda response: read_labels(response, prompts, label_ids, texts, self._top_k)

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

    async def _probe(self, with_verdict: bool) -> None:
        """Asks who the server is, and for the labels of a prompt that it has read before. Raises Busy, Changed, and
        others where it does not answer."""
        await self._ask()
        if not with_verdict or self._read_before is None:
            return
        prompt, label_ids = self._read_before
        body, parse = self._label_call([prompt], label_ids)
        try:
            await self._completions.exchange(1, body, parse, min(self._timeout_s, _ASK_TIMEOUT_S))
        except JudgeBusy as error:
            raise Busy(max(1.0, self.pause_s)) from error

    async def _ask(self) -> None:
        """Raises Changed, Busy or NotAnswered."""
        try:
            served = await look_again(self._client, self._served)
        except NotAnswered as error:
            if error.pause_s is not None:
                raise Busy(error.pause_s) from error
            raise
        if served != self._served:
            raise Changed("not " + self._served.model if served is None else self._served.differences(served))

    async def _confirm(self) -> None:
        """Raises EngineFailed where the server is not the judge that it was, or does not say."""
        try:
            await self._ask()
        except Changed as error:
            self._upstream.changed(str(error))
            raise EngineFailed(self._upstream.reason or "") from error
        except (Busy, NotAnswered) as error:
            raise EngineFailed("the judge's server does not say who it is") from error


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


def longest_prompt(served: ServedJudge, wanted: int | None, url: str) -> int:
    """In tokens. Raises ConfigurationError where nobody says."""
    lengths = [length for length in (wanted, served.max_model_len) if length is not None and length > 1]
    if not lengths:
        raise ConfigurationError(f"{url} does not report its longest prompt: set `max_model_len`")
    return min(lengths)
