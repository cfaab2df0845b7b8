"""Reads how likely answers are under a policy at an endpoint that echoes a prompt with its log-probabilities, as vLLM's
`/v1/completions` does.

Guarantees: token ids are sent, so that both policies of a comparison read the same tokens. An answer that does not have
a log-probability for each of them is an error.
"""

import json
from collections.abc import Callable, Mapping, Sequence

import httpx

from trainer_client.endpoint.answer import refusal
from trainer_client.endpoint.chat import transport_to
from trainer_client.errors import ContractError
from trainer_client.evaluation.workers import work_through

Ids = tuple[Sequence[int], Sequence[int]]
"""The token ids of a prompt and of an answer."""

_WORKERS = 8


async def read_at_endpoint(
    url: str,
    model: str,
    ids: Mapping[str, Ids],
    *,
    key: str | None,
    keep: Callable[[str, tuple[float, ...]], None],
) -> None:
    """Gives `keep` the log-probabilities of each answer's tokens, under its name. Raises RubricdClientError."""
    transport = transport_to(url, key, concurrency=_WORKERS)

    async def ask(name: str) -> None:
        prompt, answer = ids[name]
        if not answer:
            keep(name, ())
            return
        asked = {"model": model, "prompt": [*prompt, *answer], "max_tokens": 1, "temperature": 0}
        body = json.dumps({**asked, "echo": True, "logprobs": 1})
        keep(
            name,
            await transport.call(
                "POST",
                "/completions",
                lambda response: _logprobs(response, len(prompt), len(answer)),
                body=lambda left_s: body,
            ),
        )

    try:
        await work_through(ids, ask, _WORKERS)
    finally:
        await transport.aclose()


def _logprobs(response: httpx.Response, prompt: int, answer: int) -> tuple[float, ...]:
    if response.status_code != 200:
        raise refusal(response)
    try:
        found = response.json()["choices"][0]["logprobs"]["token_logprobs"]
        own = tuple(float(one) for one in found[prompt : prompt + answer])
        if len(own) != answer or len(found) not in (prompt + answer, prompt + answer + 1):
            raise ValueError(f"{len(found)} log-probabilities for {prompt + answer} tokens")
        return own
    except (ValueError, LookupError, TypeError) as error:
        raise ContractError(
            f"{response.url.host} does not echo a prompt with its log-probabilities, as vLLM does ({error})"
        ) from None
