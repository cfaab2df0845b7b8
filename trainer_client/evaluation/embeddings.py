"""Gets the embeddings of answers from an OpenAI-compatible endpoint, with the client's retries.

Guarantees: a text has the vector that the endpoint gave at its place, or the call ends in an error.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import httpx
import numpy as np

from trainer_client.agreement.statistics import Floats
from trainer_client.endpoint.answer import refusal
from trainer_client.endpoint.chat import transport_to
from trainer_client.errors import ContractError
from trainer_client.evaluation.workers import work_through

_K = TypeVar("_K")
_WORKERS = 8


async def embed(
    url: str,
    model: str,
    texts: Mapping[_K, Sequence[str]],
    *,
    key: str | None,
    progress: Callable[[int], None],
) -> dict[_K, Floats]:
    """A row for each text, under the texts' name. Raises RubricdClientError."""
    transport = transport_to(url, key, concurrency=_WORKERS)
    found: dict[_K, Floats] = {}

    async def ask(name: _K) -> None:
        # An empty text has no embedding anywhere; a space stands for it.
        body = json.dumps({"model": model, "input": [text or " " for text in texts[name]]})
        found[name] = await transport.call(
            "POST", "/embeddings", lambda response: _vectors(response, len(texts[name])), body=lambda left_s: body
        )
        progress(len(texts[name]))

    try:
        await work_through(texts, ask, _WORKERS)
    finally:
        await transport.aclose()
    return {name: found[name] for name in texts}


def _vectors(response: httpx.Response, count: int) -> Floats:
    if response.status_code != 200:
        raise refusal(response)
    try:
        data = sorted(response.json()["data"], key=lambda one: one["index"])
        vectors = np.array([one["embedding"] for one in data], dtype=np.float64)
        if vectors.ndim != 2 or len(vectors) != count:
            raise ValueError(f"{len(data)} embeddings for {count} texts")
        return vectors
    except (ValueError, LookupError, TypeError) as error:
        raise ContractError(f"{response.url.host} did not answer as an endpoint of embeddings does ({error})") from None
