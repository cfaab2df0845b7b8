"""Parses a request's body, once and strictly, into a wire model; a body of another system's route is recognised.

`/v1/score` is also a route of vLLM and SGLang, with other contracts, so the refusal of such a body names its system and
the route that takes it here.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from service.api import problems
from service.errors import InvalidRequest
from trainer_client import wire

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request in the contract's terms, whichever protocol it came in. `write` makes the bytes of the 200 response;
    it raises NotJudged where the protocol has no field for a missing verdict."""

    request: wire.ScoreRequest
    write: Callable[[wire.ScoreResponse], bytes]


RequestParser = Callable[[bytes], ParsedRequest]
"""Parses one protocol's body. Raises InvalidRequest."""


def parse_score_request(body: bytes) -> ParsedRequest:
    """Parses a body of the contract itself. Raises InvalidRequest."""
    return ParsedRequest(parse(body, wire.ScoreRequest), _to_json)


def _to_json(response: wire.ScoreResponse) -> bytes:
    return response.model_dump_json().encode()


def parse(body: bytes, model: type[M]) -> M:
    """Raises InvalidRequest with places and what to change, or with the system for whose route the body is made."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        system = recognise(body)
        if system is None:
            raise problems.invalid(error) from None
        there = "" if system.route is None else f"; here that is `POST {system.route}`"
        raise InvalidRequest(
            f"this body is shaped for {system.name}{there}; "
            "this route takes `items` with `prompt`, `response` and `rubric`"
        ) from None


def invalid_at(*place: str | int) -> InvalidRequest:
    """An error at one place of the body: the last part is the message, the parts before it the place."""
    *loc, message = place
    return InvalidRequest(str(message), ((tuple(loc), str(message)),))


@dataclass(frozen=True, slots=True)
class System:
    """Another system's score route. `keys` are fields that no other body has; `route` serves it here, if any does."""

    name: str
    keys: frozenset[str]
    route: str | None = None


_SYSTEMS = (
    System("vLLM's pooling `/v1/score`", frozenset({"text_1", "text_2", "data_1", "data_2", "queries"})),
    System("a rerank route (`query` and `documents`)", frozenset({"documents", "texts"})),
    System("OpenRLHF's `/get_reward`", frozenset({"prompts", "labels"}), "/get_reward"),
    System(
        "the `/v1/score` of SGLang or vLLM's `/generative_scoring`",
        frozenset({"label_token_ids", "apply_softmax", "item_first", "query"}),
    ),
    System("eval-protocol's `/evaluate`", frozenset({"ground_truth", "kwargs"}), "/evaluate"),
    System("a chat completion", frozenset({"messages"})),
    System("slime's remote reward model", frozenset({"label"}), "/rm"),
    System("NeMo-Gym's `/verify`", frozenset({"responses_create_params"}), "/verify"),
    System("an OpenAI decisions route", frozenset({"questions"}), "/v1/decisions"),
)


def recognise(body: bytes) -> System | None:
    """The other system for whose route this body is made, if its top-level keys say so."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    return next((system for system in _SYSTEMS if system.keys & data.keys()), None)
