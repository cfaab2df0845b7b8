"""A judge behind any OpenAI-compatible server, asked through `POST {base}/v1/completions` with token ids.

Token ids, because text would pass through the server's own tokenizer and a chat template, where untrusted text can
become control tokens. One answer token is asked for, with the log-probabilities of the most likely tokens.

Always true: whatever becomes of a call, each of its prompts has one outcome, and no other call is touched.
Nothing is retried here, no redirect is followed, no proxy is taken from the environment, and no text of a server's
error is passed on. How answers are read, and what becomes of a label that the server did not report: `completions.py`.

What the fingerprint can say: only what the server tells (the served model's id and root, vLLM's version) and what the
operator declares as `revision`. Other weights under the same name are the same judge to this engine; where that
matters, serve under a name that changes with the weights. `created` is left out: vLLM makes it up at each request.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Self

import httpx

from service.engine.base import Identity, Outcome, Prompt
from service.engine.completions import at, read_answer
from service.errors import ConfigurationError, EngineFailed, JudgementError, TooLong

_log = logging.getLogger(__name__)


class RemoteEngine:
    """An Engine over HTTP. Make one with `connect`."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        identity: Identity,
        *,
        max_model_len: int,
        label_texts: tuple[str, ...] | None,
        top_k: int,
        prompts_per_call: int,
        max_concurrency: int,
        timeout_s: float,
    ) -> None:
        self.identity = identity
        self.max_model_len = max_model_len
        self._client = client
        self._label_texts = label_texts
        self._top_k = top_k
        self._prompts_per_call = prompts_per_call
        self._slots = asyncio.Semaphore(max_concurrency)
        self._timeout_s = timeout_s
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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> Self:
        """Ask the server what it serves, or raise ConfigurationError with what to change.

        `token_id_keys`: ask for tokens as `token_id:123` (vLLM), which is exact; vLLM >= 0.32 is then also told the
        label ids and reports them whatever their rank. Without it tokens are told apart by their text as the server
        prints it, `label_texts` in the order of the label ids; two tokens that print alike cannot be told apart then.
        `timeout_s` bounds a whole call. `max_model_len`: taken from the server where it tells.
        """
        if not token_id_keys and (not label_texts or len(set(label_texts)) != len(label_texts)):
            raise ConfigurationError("without token_id_keys the judge needs label_texts, different from each other")
        url = _base(base_url)
        client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
            limits=httpx.Limits(max_connections=max_concurrency + 1),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )
        try:
            card = _choose(await _served(client, url), model, url)
            length = _length(card, max_model_len, url)
            facts = {
                "server": url,
                "root": str(card.get("root")),
                "version": await _version(client),
                "labels_by": "id" if token_id_keys else "text: " + repr(label_texts),
                "top_k": str(top_k),
            }
        except BaseException:
            await client.aclose()
            raise
        return cls(
            client,
            Identity(model=str(card["id"]), revision=revision, engine="remote", facts=facts),
            max_model_len=length,
            label_texts=None if token_id_keys else label_texts,
            top_k=top_k,
            prompts_per_call=prompts_per_call,
            max_concurrency=max_concurrency,
            timeout_s=timeout_s,
        )

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        if not all(prompt.own for prompt in prompts):
            raise ValueError("a prompt's own part is never empty")
        if self._label_texts is not None and len(self._label_texts) != len(label_ids):
            raise ValueError("label_texts and label_ids are not equally many")
        if self._stopped:
            raise EngineFailed("the judge was stopped")
        outcomes: list[Outcome | None] = [self._too_long(prompt) for prompt in prompts]
        fitting = [index for index, outcome in enumerate(outcomes) if outcome is None]
        calls = [fitting[i : i + self._prompts_per_call] for i in range(0, len(fitting), self._prompts_per_call)]
        answers = await asyncio.gather(*(self._call([prompts[i] for i in call], label_ids) for call in calls))
        for call, answer in zip(calls, answers, strict=True):
            for index, outcome in zip(call, answer, strict=True):
                outcomes[index] = outcome
        return _complete(outcomes)

    async def stop(self) -> None:
        self._stopped = True
        await self._client.aclose()

    def _too_long(self, prompt: Prompt) -> TooLong | None:
        if len(prompt) < self.max_model_len:
            return None
        return TooLong(f"{len(prompt)} prompt tokens and one answer token exceed {self.max_model_len}")

    async def _call(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        """One HTTP call; whatever becomes of it, one outcome a prompt."""
        try:
            async with self._slots, asyncio.timeout(self._timeout_s):
                response = await self._client.post("/v1/completions", json=self._body(prompts, label_ids))
            if response.status_code != httpx.codes.OK:
                raise _refusal(response, len(prompts))
            return read_answer(_json(response), prompts, label_ids, self._label_texts, self._top_k)
        except JudgementError as failure:
            error = failure
        except (TimeoutError, httpx.TimeoutException):
            error = EngineFailed(f"the judge's server did not answer within {self._timeout_s:g} s")
        except Exception as failure:
            # Whatever it is (httpx raises RuntimeError once stop() closed the client), every prompt gets its outcome.
            error = EngineFailed(f"the judge's server could not be asked: {type(failure).__name__}")
        _log.warning("a call to the judge's server failed for %d prompts: %s", len(prompts), error)
        return [type(error)(str(error)) for _ in prompts]

    def _body(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.identity.model,
            "prompt": [prompt.ids for prompt in prompts],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": self._top_k,
        }
        if self._label_texts is None:
            body |= {"return_tokens_as_token_ids": True, "logprob_token_ids": label_ids}
        return body


def _complete(outcomes: Sequence[Outcome | None]) -> list[Outcome]:
    """All outcomes; raises where there are some and the engine failed on every one, as the whole batch failed then."""
    complete = [outcome for outcome in outcomes if outcome is not None]
    if len(complete) != len(outcomes):
        raise EngineFailed("a prompt was left without an outcome")
    if complete and all(isinstance(outcome, EngineFailed) for outcome in complete):
        raise EngineFailed(str(complete[0]))
    return complete


def _base(base_url: str) -> str:
    url = httpx.URL(base_url)
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise ConfigurationError("the judge's base URL must be http(s)://host[:port][/path], with no credentials in it")
    return str(url).rstrip("/").removesuffix("/v1")


async def _served(client: httpx.AsyncClient, url: str) -> list[dict[str, Any]]:
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
        data = at(_json(response), "data")
    except EngineFailed:
        data = None
    cards = data if isinstance(data, list) else []
    return [card for card in cards if isinstance(card, dict) and isinstance(card.get("id"), str)]


def _choose(cards: list[dict[str, Any]], model: str | None, url: str) -> dict[str, Any]:
    names = [card["id"] for card in cards]
    if model is None and len(cards) == 1:
        return cards[0]
    if model in names:
        return cards[names.index(model)]
    wanted = "set the judge's model" if model is None else f"it does not serve {model!r}; change the judge's model"
    raise ConfigurationError(f"{url} serves {', '.join(names) or 'no model'}: {wanted}")


def _length(card: dict[str, Any], wanted: int | None, url: str) -> int:
    told = card.get("max_model_len")
    lengths = [length for length in (wanted, told) if type(length) is int and length > 1]
    if not lengths:
        raise ConfigurationError(f"{url} does not tell its longest prompt: set max_model_len")
    return min(lengths)


async def _version(client: httpx.AsyncClient) -> str:
    """vLLM's version, from a route that other servers do not have."""
    try:
        response = await client.get("/version")
        version = at(_json(response), "version") if response.status_code == httpx.codes.OK else None
    except (httpx.HTTPError, EngineFailed):
        version = None
    return version if isinstance(version, str) else "not told"


def _refusal(response: httpx.Response, prompts: int) -> JudgementError:
    """A status other than 200 as a failure. Its text may quote the prompt, so it is looked into but never passed on."""
    code = response.status_code
    if code in (400, 413, 422) and "context length" in response.text.lower():
        if prompts == 1:
            return TooLong("the judge's server says that the prompt exceeds its context length")
        return EngineFailed("the server says that a prompt of this call exceeds its context: lower max_model_len")
    return EngineFailed(f"the judge's server answered {code}")


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError) as error:
        raise EngineFailed("the judge's server answered something that is not JSON") from error
