"""Holds what every protocol here shares: tolerant bodies, strict labels, one request of the contract, and replies.

A rubric comes in a *label*: an item of `POST /v1/score` without its response, with the request's options beside it, as
an object or as JSON text.

Guarantees: what is ours (labels, options) is strict, and every mistake in it is refused with its place. What is theirs
may hold fields that nothing here knows.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from service.api import problems
from service.api.bodies.parsing import MAX_VALUES, check_counts, invalid_at, read
from service.errors import InvalidRequest, JudgementError, NotJudged
from service.settings import ApiSettings
from trainer_client import wire

M = TypeVar("M", bound="ForeignBody")
Place = tuple[str | int, ...]


def _choices(model: type[BaseModel], name: str) -> tuple[Any, ...]:
    """The types or literals that a field takes."""
    annotation = model.model_fields[name].annotation
    return get_args(annotation) or (annotation,)


ITEM = frozenset({"rubric", "prompt", "reference", "documents"})
OPTIONS = frozenset(wire.ScoreRequest.model_fields) - {"items", "deadline_ms"}
_NUMBERS = frozenset(
    name
    for name in OPTIONS
    if all(isinstance(one, int) or one in (bool, int, float) for one in _choices(wire.ScoreRequest, name))
)
REMEDY = 'there is no rubric here; give {"rubric": [{"text": "...", "points": 1}]}, as an object or as JSON text'
COMMON_END_TOKENS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<eos>",
    "</s>",
)
"""End-of-text tokens that trainers decode with the response, of the common model families."""

_RETRYABLE = frozenset(error.code for error in JudgementError.__subclasses__() if error.retryable)


@dataclass(frozen=True, slots=True)
class TranslationContext:
    """A translation needs these facts besides the body. `query` is the URL's; `limits` bound one request; `end_tokens`
    are taken off the end of a response; `count_neutral` is called with how often a number stood for a missing reward,
    where the setting allows it; `judge_names` are those of the deployment. `most_options` says how many options the
    judge that these scoring options name is proven to tell apart by their labels, 0 where nothing is proven."""

    query: Mapping[str, str]
    limits: ApiSettings
    end_tokens: Sequence[str] = ()
    count_neutral: Callable[[int], None] = lambda rewards: None
    judge_names: Callable[[], Collection[str]] = tuple
    most_options: Callable[[Mapping[str, Any]], int] = lambda options: 0

    def judge_of(self, model: str) -> dict[str, Any]:
        """The option `judge`, where a protocol's field `model` names a judge of this deployment and the URL none. Any
        other name is ignored: clients send one that they cannot leave out."""
        return {"judge": model} if "judge" not in self.query and model in self.judge_names() else {}

    @property
    def neutral(self) -> float | None:
        return self.limits.protocol_neutral


class ForeignBody(BaseModel):
    """A body of another protocol: its fields are strict, others are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


def parse(body: bytes, model: type[M]) -> M:
    """Raises InvalidRequest."""
    return validated(read(body, problems.names_of(model)), model)


def validated(data: Any, model: type[M]) -> M:
    """Raises InvalidRequest."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise problems.invalid(error, problems.names_of(model)) from None


def check_labels(labels: Sequence[Any], *place: str | int) -> None:
    """Raises InvalidRequest where the JSON texts among them hold more values than a body may."""
    texts = b"\n".join(label.encode() for label in labels if isinstance(label, str))
    if len(texts) > MAX_VALUES and not wire.values_at_most(texts, MAX_VALUES):
        raise invalid_at(*place, f"more than {MAX_VALUES} values in all; send fewer responses a request")


@dataclass(frozen=True, slots=True)
class Label:
    """`place` is where in the body it stands; `item` holds the fields of an item, as far as given;
    `opened` is the tag with which the prompt, as the policy read it, opened the policy's reasoning."""

    place: Place
    item: Mapping[str, Any]
    options: Mapping[str, Any]
    opened: str = ""

    @classmethod
    def of(cls, value: Any, *place: str | int) -> "Label":
        """A rubric alone is a label too. Raises InvalidRequest."""
        value = _object(value, place)
        if "criteria" in value:
            value = {"rubric": value}
        if value.keys() - ITEM - OPTIONS:
            known = ", ".join([*sorted(ITEM), *sorted(OPTIONS)])
            raise invalid_at(*place, f"a field of this label is not known; known are {known}")
        return cls(place, _only(value, ITEM), _only(value, OPTIONS))

    def behind(self, prompt: str) -> "Label":
        """With the tag of reasoning in which this prompt ends, as a chat template leaves it."""
        return replace(self, opened=wire.opened_in(prompt))

    def filled(self, **item: Any) -> "Label":
        """With these for what the label itself leaves open."""
        return replace(self, item={**item, **self.item})


def _object(value: Any, place: Place) -> dict[str, Any]:
    if isinstance(value, str) and value.strip():
        check_labels([value], *place)
        try:
            value = wire.read_json(value)
        except wire.JsonFault as fault:
            if fault.path:
                raise invalid_at(*place, *problems.known_place(fault.path), str(fault)) from None
            raise invalid_at(*place, f"this text is {fault}, so {REMEDY}") from None
    if isinstance(value, list):
        value = {"rubric": value}
    if not isinstance(value, dict):
        raise invalid_at(*place, REMEDY)
    return value


def _only(value: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value[name] for name in value if name in names}


def options_of(query: Mapping[str, str], *others: str) -> dict[str, Any]:
    """The scoring options in a URL, `others` left out. Raises InvalidRequest."""
    if query.keys() - OPTIONS - set(others):
        known = ", ".join(sorted({*OPTIONS, *others}))
        raise invalid_at("query", f"an option in the URL is not known; known are {known}")
    return {name: _typed(name, query[name]) for name in query if name in OPTIONS}


def _typed(name: str, text: str) -> Any:
    """A number, a boolean or an object as one; else the text, for the contract to refuse."""
    if name not in _NUMBERS and not (name in ("reasoning", "aggregation") and text.startswith("{")):
        return text
    try:
        return wire.read_json(text)
    except wire.JsonFault:
        return text


def build_request(
    responses: Sequence[tuple[Label, Any]], context: TranslationContext, *, others: Sequence[str] = ()
) -> wire.ScoreRequest:
    """One item a label with its response, in this order. What the labels choose goes before the URL. Raises
    InvalidRequest with the places of the labels."""
    first = responses[0][0]
    options = {**options_of(context.query, *others), **first.options}
    for label, _ in responses:
        if label.options != first.options:
            raise invalid_at(*label.place, "its options differ from the first label's; send such responses apart")
        if label.item.get("rubric") is None and options.get("mode") != "likert":
            raise invalid_at(*label.place, REMEDY)
    options = {"reasoning": context.limits.protocol_reasoning, **options}
    removes = options["reasoning"] != "keep"
    items = [
        {**label.item, "response": label.opened + response if removes and label.opened else response}
        for label, response in responses
    ]
    labels = [label for label, _ in responses]
    fields = {**options, "items": items, "deadline_ms": max(1, round(context.limits.protocol_deadline_s * 1000))}
    try:
        check_counts(items, context.limits)
        return wire.ScoreRequest.model_validate(fields)
    except ValidationError as error:
        raise _placed(problems.invalid(error), labels) from None
    except InvalidRequest as error:
        raise _placed(error, labels) from None


def _placed(error: InvalidRequest, labels: Sequence[Label]) -> InvalidRequest:
    return InvalidRequest(str(error), tuple((_at(loc, labels), message) for loc, message in error.errors))


def _at(loc: Place, labels: Sequence[Label]) -> Place:
    """Returns where in the foreign body, or its URL, a place of the contract's request is."""
    match loc:
        case ("items", int(index), *rest):
            return (*labels[index].place, *rest)
        case (str(name), *_) if name in labels[0].options:
            return (*labels[0].place, *loc)
        case (str(name), *_) if name in OPTIONS:
            return ("query", *loc)
    return loc


def strip_end_tokens(response: str, tokens: Sequence[str]) -> str:
    """The response without the tokens that stand at its very end, however many."""
    end = len(response)  # cut once: to cut off each of a million tokens would copy the text a million times
    while found := next((token for token in tokens if response.endswith(token, 0, end)), None):
        end -= len(found)
    return response[:end]


def to_json(reply: Any) -> bytes:
    return json.dumps(reply, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def missing_verdicts(results: Iterable[wire.Result]) -> Counter[str]:
    """Returns how many criteria have no verdict, by status."""
    return Counter(criterion.status for one in results for criterion in one.criteria if criterion.status != "ok")


def missing_reason(results: Iterable[wire.Result]) -> str:
    """Why there is no score, in a sentence without text of the request."""
    found = missing_verdicts(results)
    if not found:
        return "nothing in this rubric counts"
    statuses = ", ".join(f"{status} {found[status]}" for status in get_args(wire.CriterionStatus) if found[status])
    return f"criteria without a verdict: {statuses}"


def may_come_later(results: Iterable[wire.Result]) -> bool:
    """Whether a verdict is missing that the same request may get."""
    return bool(_RETRYABLE & missing_verdicts(results).keys())


def not_judged(results: Iterable[wire.Result]) -> NotJudged:
    """The error for a protocol whose reply is a number and nothing else."""
    without = [one for one in results if one.score is None]
    again_s = 1.0 if may_come_later(without) else None
    return NotJudged(f"{len(without)} response(s) were not judged; {missing_reason(without)}", again_s)
