"""Parses a request's body, once and strictly, into a wire model; a body of another system's route is recognised.

Guarantees: the number of values in a body, of its responses and of its criteria is checked before they become models,
so that the work for a body that is refused is bounded.

`/v1/score` is also a route of vLLM and SGLang, with other contracts, so the refusal of such a body names its system and
the route that takes it here.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.api import problems
from service.errors import InvalidRequest
from service.settings import ApiSettings
from trainer_client import wire

M = TypeVar("M", bound=BaseModel)

MAX_VALUES = 200_000
"""One body holds at most so many values, counted by commas and brackets outside of strings: 512 responses with 100
criteria each have fewer."""
_SMALL_BYTES, _SMALL_VALUES = 16_384, 2_000
_LONG_BYTES = 1_048_576
_MAX_FIELDS = 32
_FEW_RESULTS = 16


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request in the contract's terms, whichever protocol it came in. `write` makes the bytes of the 200 response;
    it raises NotJudged where the protocol has no field for a missing verdict."""

    request: wire.ScoreRequest
    write: Callable[[wire.ScoreResponse], bytes]
    place: Callable[[int], tuple[str | int, ...]] = lambda item: ("items", item)
    """Where in the caller's body the item of this index stands."""


RequestParser = Callable[[bytes], ParsedRequest]
"""Parses one protocol's body. Raises InvalidRequest."""


def parse_score_request(body: bytes, limits: ApiSettings) -> ParsedRequest:
    """Parses a body of the contract itself. Raises InvalidRequest."""
    data = read(body)
    if isinstance(data, dict) and isinstance(data.get("items"), list):
        check_counts(data["items"], limits)
    elif wire.holds_one_item(data):
        return ParsedRequest(_one_item(data, limits), _to_json, lambda item: ())
    return ParsedRequest(_validated(data, wire.ScoreRequest), _to_json)


def _one_item(data: dict[str, Any], limits: ApiSettings) -> wire.ScoreRequest:
    """Raises InvalidRequest with places as the caller wrote them, which has no list."""
    try:
        check_counts([data], limits)
        return _validated(data, wire.ScoreRequest)
    except InvalidRequest as error:
        places = [(loc[2:] if loc[:2] == ("items", 0) else loc, message) for loc, message in error.errors]
        raise InvalidRequest(str(error), tuple(places)) from None


def parse_compare_request(body: bytes, limits: ApiSettings) -> wire.CompareRequest:
    """Raises InvalidRequest."""
    data = read(body)
    if isinstance(data, dict) and isinstance(data.get("items"), list):
        check_counts(data["items"], limits)
    return _validated(data, wire.CompareRequest)


def parse_lint_request(body: bytes, limits: ApiSettings) -> wire.LintRequest:
    """Raises InvalidRequest."""
    data = read(body)
    if isinstance(data, dict) and _criteria_of(data) > limits.max_criteria:
        raise invalid_at("rubric", too_many_criteria(limits))
    return _validated(data, wire.LintRequest)


def parse_read_request(body: bytes) -> wire.ReadRequest:
    """Raises InvalidRequest."""
    return _validated(read(body), wire.ReadRequest)


def parse_fix_request(body: bytes, limits: ApiSettings) -> wire.FixRequest:
    """Raises InvalidRequest."""
    data = read(body)
    if isinstance(data, dict) and _criteria_of(data) > limits.max_criteria:
        raise invalid_at("rubric", too_many_criteria(limits))
    return _validated(data, wire.FixRequest)


def parse_rubric(body: bytes, max_criteria: int) -> wire.Rubric:
    """The criteria of a rubric alone. Raises InvalidRequest."""
    data = read(body)
    if isinstance(data, dict) and "ref" in data:
        raise invalid_at("ref", "a rubric that is stored has `criteria`; its `ref` is in the answer")
    if _criteria_of({"rubric": data}) > max_criteria:
        raise invalid_at("criteria", f"more than {max_criteria} criteria in one rubric")
    return _validated(data, wire.Rubric)


def _to_json(response: wire.ScoreResponse) -> bytes:
    """Result by result: the interpreter runs no other thread while pydantic writes one document."""
    if len(response.results) <= _FEW_RESULTS:
        return response.model_dump_json().encode()
    results = ",".join([one.model_dump_json() for one in response.results])
    head = response.model_dump_json(include={"id", "judge"})
    tail = response.model_dump_json(include={"groups", "usage"})
    return f'{head[:-1]},"results":[{results}],{tail[1:]}'.encode()


class CountedBody(bytes):
    """A body that counts its values once, however many ask for them."""

    @cached_property
    def values(self) -> int:
        return wire.structure(self)


def _values(body: bytes) -> int:
    return body.values if isinstance(body, CountedBody) else wire.structure(body)


def is_small(body: bytes) -> bool:
    """Returns whether reading and validating this body takes less than about 5 ms, whatever is in it."""
    if len(body) <= _SMALL_BYTES:
        return True
    return len(body) <= _LONG_BYTES and _values(body) <= _SMALL_VALUES


def read(body: bytes, names: Collection[str] = ()) -> Any:
    """The body's JSON. Raises InvalidRequest. `names` are fields, besides those of the contract, that a place may
    name."""
    values = _values(body)
    if values > MAX_VALUES and not wire.values_at_most(body, MAX_VALUES):
        raise InvalidRequest(f"the body holds more than {MAX_VALUES} values; send fewer items a request")
    try:
        return wire.read_json(body, values)
    except wire.JsonFault as fault:
        raise problems.not_json(fault, names) from None


def check_counts(items: Sequence[Any], limits: ApiSettings) -> None:
    """Raises InvalidRequest for more responses or criteria than one request may have."""
    results = 0 if len(items) <= limits.max_items else len(items)
    for index, item in enumerate(items[: limits.max_items]):
        if not isinstance(item, dict):
            continue  # validation says so
        if len(item) > _MAX_FIELDS:  # each of them would be an error of its own
            raise invalid_at("items", index, f"more than {_MAX_FIELDS} fields in one item")
        responses = item.get("responses")
        results += len(responses) if isinstance(responses, list) else 1
        if _criteria_of(item) > limits.max_criteria:
            raise invalid_at("items", index, "rubric", too_many_criteria(limits))
    if results > limits.max_items:
        raise invalid_at("items", f"{results} responses in one request; at most {limits.max_items}")


def _criteria_of(item: dict[str, Any]) -> int:
    rubric = item.get("rubric")
    criteria = rubric.get("criteria") if isinstance(rubric, dict) else rubric
    return len(criteria) if isinstance(criteria, list) else 0


def too_many_criteria(limits: ApiSettings) -> str:
    return f"more than {limits.max_criteria} criteria in one rubric"


def _validated(data: Any, model: type[M]) -> M:
    """Raises InvalidRequest with places and what to change, or with the system for whose route the body is made."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        _check_route(data, model)
        system = recognise(data)
        if system is None:
            raise problems.invalid(error) from None
        there = "" if system.route is None else f"; here that is `POST {system.route}`"
        taken = "`a` and `b`" if model is wire.CompareRequest else "`response` and `rubric`"
        raise InvalidRequest(
            f"this body is shaped for {system.name}{there}; this route takes `items` with `prompt`, {taken}"
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
    System("System One's `/v1/systemone`", frozenset({"state"}), "/v1/systemone"),
    System("an OpenAI decisions route", frozenset({"questions"}), "/v1/decisions"),
)


def recognise(data: Any) -> System | None:
    """The other system for whose route this body is made, if its top-level keys say so."""
    if not isinstance(data, dict):
        return None
    return next((system for system in _SYSTEMS if system.keys & data.keys()), None)


def check_meant(body: bytes, path: str) -> None:
    """Raises InvalidRequest where the body of a foreign protocol's route is made for another route of this service. It
    is asked once a body was refused, which says nothing of the reason."""
    try:
        data = read(body)
    except InvalidRequest:
        return
    found = _meant(data)
    if found is not None and found[1] != path:
        name, route = found
        raise InvalidRequest(f"this body is shaped for {name}: send it to `POST {route}`")


def _meant(data: Any) -> tuple[str, str] | None:
    """Whose body it is, and the route that takes it here."""
    if not isinstance(data, dict):
        return None
    items = data.get("items")
    if isinstance(items, list) and items and isinstance(items[0], dict):
        compares = items[0].keys() >= {"a", "b"}
        return ("two responses to compare", "/v1/compare") if compares else ("responses to score", "/v1/score")
    if "responses_create_params" in data:
        return "NeMo-Gym's `/verify`", "/verify"
    questions = data.get("questions")
    if isinstance(questions, list) or "input" in data:
        return "an OpenAI decisions route", "/v1/decisions"
    if "messages" in data and data.keys() & {"ground_truth", "kwargs", "rubric"}:
        return "eval-protocol's `/evaluate`", "/evaluate"
    if wire.holds_one_item(data) and "rubric" in data and "label" not in data:
        return "a response to score", "/v1/score"
    system = recognise(data)
    return None if system is None or system.route is None else (system.name, system.route)


def _check_route(data: Any, model: type[BaseModel]) -> None:
    """Raises InvalidRequest for a score's items where a pair's are taken, and the other way round."""
    items = data.get("items") if isinstance(data, dict) else None
    first = items[0] if isinstance(items, list) and items else None
    if not isinstance(first, dict):
        return
    if model is wire.ScoreRequest and first.keys() >= {"a", "b"}:
        raise InvalidRequest("these items are pairs of responses, `a` and `b`: send them to `POST /v1/compare`")
    if model is wire.CompareRequest and first.keys() & {"response", "responses"}:
        raise InvalidRequest(
            "these items are responses to score: send them to `POST /v1/score`, or two of them here as `a` and `b`"
        )
