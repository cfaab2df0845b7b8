"""What every protocol here has in common: tolerant bodies, strict labels, and one request in the contract's terms.

A rubric comes in a *label*: an item of `POST /v1/score` without its response, with the request's options beside it, as
an object or as JSON text.

Always true: what is ours (labels, options) is strict, with a place for every slip; what is theirs may hold fields that
nobody here knows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from service.api import problems
from service.api.request_body import unserved
from service.errors import InvalidRequest
from trainer_client import wire

M = TypeVar("M", bound="Foreign")
Place = tuple[str | int, ...]

ITEM = frozenset({"rubric", "prompt", "reference"})
OPTIONS = frozenset(wire.ScoreRequest.model_fields) - {"items", "deadline_ms"}
_NUMBERS = frozenset({"votes", "soft", "threshold", "min_coverage"})
REMEDY = 'there is no rubric here; give {"rubric": [{"text": "...", "points": 1}]}, as an object or as JSON text'


@dataclass(frozen=True, slots=True)
class Asking:
    """What a translation needs besides the body. `query` is the URL's; `end_tokens` are taken off the end of a
    response; `neutral` stands for a missing reward where it is set, and `replaced` hears how often it did."""

    query: Mapping[str, str]
    deadline_s: float
    end_tokens: Sequence[str] = ()
    neutral: float | None = None
    replaced: Callable[[int], None] = lambda rewards: None


class Foreign(BaseModel):
    """A body of another protocol: its fields are strict, others are let be."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


def parse(body: bytes, model: type[M]) -> M:
    """Raises InvalidRequest."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise problems.invalid(error, problems.names_of(model)) from None


@dataclass(frozen=True, slots=True)
class Label:
    """`place` is where in the body it stands; `item` holds `rubric`, `prompt` and `reference`, as far as given."""

    place: Place
    item: Mapping[str, Any]
    options: Mapping[str, Any]

    @classmethod
    def of(cls, value: Any, *place: str | int) -> "Label":
        """A rubric alone is a label too. Raises InvalidRequest."""
        value = _object(value, place)
        if "criteria" in value:
            value = {"rubric": value}
        if value.keys() - ITEM - OPTIONS:
            known = ", ".join([*sorted(ITEM), *sorted(OPTIONS)])
            raise unserved(*place, f"a field of this label is not known; known are {known}")
        return cls(place, _only(value, ITEM), _only(value, OPTIONS))

    def filled(self, **item: Any) -> "Label":
        """With these for what the label itself leaves open."""
        return replace(self, item={**item, **self.item})


def _object(value: Any, place: Place) -> dict[str, Any]:
    if isinstance(value, str) and value.strip():
        try:
            value = from_json(value, allow_inf_nan=False)
        except ValueError:
            raise unserved(*place, f"this text is not JSON, so {REMEDY}") from None
    if isinstance(value, list):
        value = {"rubric": value}
    if not isinstance(value, dict):
        raise unserved(*place, REMEDY)
    return value


def _only(value: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value[name] for name in value if name in names}


def options_of(query: Mapping[str, str], *others: str) -> dict[str, Any]:
    """The scoring options in a URL, `others` left out. Raises InvalidRequest."""
    if query.keys() - OPTIONS - set(others):
        known = ", ".join(sorted({*OPTIONS, *others}))
        raise unserved("query", f"an option in the URL is not known; known are {known}")
    return {name: _typed(name, query[name]) for name in query if name in OPTIONS}


def _typed(name: str, text: str) -> Any:
    """A number or a boolean as one; else the text, for the contract to refuse."""
    if name not in _NUMBERS:
        return text
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return text


def request_of(
    responses: Sequence[tuple[Label, str]], asking: Asking, *, others: Sequence[str] = ()
) -> wire.ScoreRequest:
    """One item a label with its response, in this order. What the labels choose goes before the URL. Raises
    InvalidRequest with the places of the labels."""
    first = responses[0][0]
    options = {**options_of(asking.query, *others), **first.options}
    for label, _ in responses:
        if label.options != first.options:
            raise unserved(*label.place, "its options differ from the first label's; send such responses apart")
        if label.item.get("rubric") is None and options.get("mode") != "likert":
            raise unserved(*label.place, REMEDY)
    items = [{**label.item, "response": response} for label, response in responses]
    asked = {**options, "items": items, "deadline_ms": max(1, round(asking.deadline_s * 1000))}
    try:
        return wire.ScoreRequest.model_validate(asked)
    except ValidationError as error:
        found = problems.invalid(error)
        labels = [label for label, _ in responses]
        raise InvalidRequest(str(found), tuple((_at(loc, labels), said) for loc, said in found.errors)) from None


def _at(loc: Place, labels: Sequence[Label]) -> Place:
    """Where in the foreign body, or its URL, a place of the contract's request is."""
    match loc:
        case ("items", int(index), *rest):
            return (*labels[index].place, *rest)
        case (str(name), *_) if name in labels[0].options:
            return (*labels[0].place, *loc)
        case (str(name), *_) if name in OPTIONS:
            return ("query", *loc)
    return loc
