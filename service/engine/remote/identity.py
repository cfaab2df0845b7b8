"""Finds out from an OpenAI-compatible server which judge it serves, at the start and again later.

Guarantees: two answers are equal exactly when the server names the same model, root, longest prompt and version. A
question that was not answered is never taken for another judge. No text of a server's error is passed on.
"""

from dataclasses import dataclass
from typing import Any

import httpx

from service.engine.remote.completions import at_path
from service.engine.upstream.calls import parse_json, retry_after_s
from service.errors import ConfigurationError, EngineFailed

UNKNOWN_VERSION = "unknown"


class NotAnswered(Exception):
    """The server did not say what it serves. `pause_s` is set where it asked to be left alone for so long."""

    def __init__(self, why: str, pause_s: float | None = None) -> None:
        super().__init__(why)
        self.pause_s = pause_s


@dataclass(frozen=True, slots=True)
class ServedJudge:
    """What the server tells of a model that it serves. `max_model_len` is None where it does not tell."""

    model: str
    root: str
    max_model_len: int | None
    version: str

    def differences(self, other: "ServedJudge") -> str:
        """What `other` has instead, for a person: names and numbers that the two servers told."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in self.__slots__)
        return ", ".join(f"{name} {there} instead of {here}" for name, here, there in pairs if here != there)


async def first_look(client: httpx.AsyncClient, url: str, model: str | None) -> ServedJudge:
    """The model of this name, or the only one. Raises ConfigurationError with what to change."""
    try:
        cards = await _list_models(client)
    except NotAnswered as error:
        raise ConfigurationError(f"{url}/v1/models cannot be used: {error}") from error
    card = _choose_model(cards, model, url)
    try:
        version = await _vllm_version(client)
    except NotAnswered:
        version = UNKNOWN_VERSION
    return _served(card, version)


async def look_again(client: httpx.AsyncClient, before: ServedJudge) -> ServedJudge | None:
    """What the server serves under the name of `before`; None where it does not serve that model any more. Raises
    NotAnswered."""
    cards = {card["id"]: card for card in await _list_models(client)}
    if before.model not in cards:
        return None
    try:
        version = await _vllm_version(client)
    except NotAnswered:
        if before.version != UNKNOWN_VERSION:
            raise
        version = UNKNOWN_VERSION
    return _served(cards[before.model], version)


def _served(card: dict[str, Any], version: str) -> ServedJudge:
    length = card.get("max_model_len")
    return ServedJudge(
        model=str(card["id"]),
        root=str(card.get("root")),
        max_model_len=length if type(length) is int else None,
        version=version,
    )


async def _list_models(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Raises NotAnswered with what to change."""
    response = await _get(client, "/v1/models")
    if response.status_code in (401, 403):
        raise NotAnswered("the server refuses the key: set `remote_key`")
    if (pause_s := retry_after_s(response)) is not None:
        raise NotAnswered(f"the server is overloaded (it answers {response.status_code}): try again later", pause_s)
    if response.status_code != httpx.codes.OK:
        needed = "`remote_url` must be the base URL of an OpenAI-compatible server"
        raise NotAnswered(f"it answers {response.status_code}, and {needed}")
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
    advice = "set `remote_model`" if model is None else f"it does not serve {model!r}; change `remote_model`"
    raise ConfigurationError(f"{url} serves {', '.join(names) or 'no model'}: {advice}")


async def _vllm_version(client: httpx.AsyncClient) -> str:
    """vLLM's version, from a route that other servers do not have. Raises NotAnswered where the server has it perhaps,
    but failed."""
    response = await _get(client, "/version")
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise NotAnswered(f"the server answers {response.status_code}", retry_after_s(response))
    try:
        version = at_path(parse_json(response), "version") if response.status_code == httpx.codes.OK else None
    except EngineFailed:
        version = None
    return version if isinstance(version, str) else UNKNOWN_VERSION


async def _get(client: httpx.AsyncClient, path: str) -> httpx.Response:
    try:
        return await client.get(path)
    except EngineFailed as error:
        raise NotAnswered(f"{error}: change `remote_url`") from error
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:
        why = f"no answer ({type(error).__name__}): start the judge's server, or change `remote_url`"
        raise NotAnswered(why) from error
