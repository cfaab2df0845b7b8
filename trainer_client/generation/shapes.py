"""Says in which form a generator writes a rubric, as a JSON schema, and reads what it wrote, strictly.

Guarantees: what does not follow the form is refused with what is wrong, and nothing of it is used or repaired. A fault
names its place. A criterion that is read has the sign that its form gives it, and says so.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from trainer_client import wire
from trainer_client.generation.templates import Template
from trainer_client.policy_answers import PolicyAnswers

_FENCE = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*)\n```\s*\Z", re.DOTALL | re.IGNORECASE)
_SHOWN_FAULTS = 8
_ANSWERS = PolicyAnswers()


class NotARubric(Exception):
    """What the generator wrote cannot be used; `faults` say why, a sentence each. `drafts` counts the drafts of a row
    that ends without one that can."""

    drafts = 0

    def __init__(self, faults: Sequence[str]) -> None:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        super().__init__(f"{faults[0]}{more}")
        self.faults = tuple(faults)


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Categorised(_Form):
    title: str
    category: Literal["essential", "important", "optional", "pitfall"]
    description: str
    weight: Annotated[int, Field(ge=-2, le=5)]


class _Pointed(_Form):
    criterion: str
    points: Annotated[int, Field(ge=-10, le=10)]


class _Quoted(_Pointed):
    quote: str


def form_of(template: Template) -> type[BaseModel]:
    """The model of the document that the template asks for."""
    low, high = template.items

    def several(entry: Any) -> Any:
        return Annotated[list[entry], Field(min_length=low, max_length=high)]

    fields: dict[str, Any]
    match template.shape:
        case "categories":
            fields = {"rubric": (several(_Categorised), ...)}
        case "points":
            fields = {"rubrics": (several(_Pointed), ...)}
        case "quoted":
            fields = {"rubrics": (several(_Quoted), ...)}
        case _:
            each = Annotated[list[str], Field(max_length=high)]
            fields = {"hard_rules": (each, ...), "principles": (each, ...)}
    return create_model("Rubric", __base__=_Form, **fields)


def schema_of(form: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema, without the names that pydantic gives to places."""
    cleaned: dict[str, Any] = _without_titles(form.model_json_schema())
    return cleaned


def _without_titles(schema: Any, *, of_fields: bool = False) -> Any:
    if isinstance(schema, list):
        return [_without_titles(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _without_titles(value, of_fields=name == "properties")
        for name, value in schema.items()
        if of_fields or name != "title"
    }


def read(text: str, template: Template, form: type[BaseModel], guideline: str | None) -> list[wire.Criterion]:
    """The criteria of a text: a JSON document, alone or in one code fence, after reasoning where there is some. Raises
    NotARubric."""
    answer = _ANSWERS.split(text).answer
    fence = _FENCE.match(answer)
    try:
        document = form.model_validate(wire.read_json(fence[1] if fence else answer))
    except wire.JsonFault as fault:
        raise NotARubric([f"the answer is not one JSON object: {fault}"]) from None
    except ValidationError as error:
        raise NotARubric(list(_places(error))[:_SHOWN_FAULTS]) from None
    fields = list(_criteria(document, template))
    faults = [*_faults(document, template, guideline)]
    criteria = []
    for place, one in fields:
        if _is_example(one["text"], template):
            faults.append(f"{place}: it is the example of the task; write about this conversation")
        try:
            criteria.append(wire.Criterion.model_validate(one))
        except ValidationError as error:
            faults.append(f"{place}: {error.errors()[0]['msg']}")
    if not faults and not any(one.worth > 0 for one in criteria):
        faults.append("no criterion is wanted: at least one has points above 0")
    if faults:
        raise NotARubric(faults[:_SHOWN_FAULTS])
    return criteria


def _places(error: ValidationError) -> Iterator[str]:
    for one in error.errors(include_url=False, include_input=False):
        place = ".".join(map(str, one["loc"])) or "the answer"
        yield f"{place}: {one['msg'][:1].lower()}{one['msg'][1:]}"


def _criteria(document: Any, template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each criterion of the document with its place, in the contract's words."""
    match template.shape:
        case "categories":
            for place, one in enumerate(document.rubric):
                sign = "negative" if one.category == "pitfall" else "positive"
                tags = {"category": one.category, "title": one.title}
                fields = {"text": one.description, "points": one.weight, "polarity": sign, "tags": tags}
                yield f"rubric.{place}", fields
        case "rules":
            for kind, rules in (("hard rule", document.hard_rules), ("principle", document.principles)):
                for place, rule in enumerate(rules):
                    name = "hard_rules" if kind == "hard rule" else "principles"
                    yield f"{name}.{place}", {"text": rule, "points": 1, "tags": {"kind": kind}}
        case _:
            for place, one in enumerate(document.rubrics):
                tags = {"quote": one.quote} if template.shape == "quoted" else {}
                yield f"rubrics.{place}", {"text": one.criterion, "points": one.points, "tags": tags}


def _faults(document: Any, template: Template, guideline: str | None) -> Iterator[str]:
    """What the form's types do not say."""
    match template.shape:
        case "categories":
            for place, one in enumerate(document.rubric):
                low, high = (template.weights or {}).get(one.category, (-5, 5))
                if not low <= one.weight <= high:
                    yield f"rubric.{place}.weight: {one.weight}, and {one.category} has {_between(low, high)}"
        case "rules":
            number = len(document.hard_rules) + len(document.principles)
            if not template.items[0] <= number <= template.items[1]:
                yield f"{number} rules in all; write {_between(*template.items)}"
        case _:
            for place, one in enumerate(document.rubrics):
                if one.points == 0:
                    yield f"rubrics.{place}.points: 0; points are 1 to 10 or -10 to -1"
            if template.shape == "quoted" and guideline is not None:
                yield from _unquoted(document.rubrics, guideline)


def _unquoted(criteria: Sequence[_Quoted], guideline: str) -> Iterator[str]:
    """Quotes that the guideline does not have, whatever the line breaks."""
    whole = " ".join(guideline.split())
    for place, one in enumerate(criteria):
        quote = " ".join(one.quote.split())
        if not quote or quote not in whole:
            yield f"rubrics.{place}.quote: these words are not in the guideline; copy them exactly"


def _is_example(text: str, template: Template) -> bool:
    """Whether a criterion is copied from the template: small models do that."""
    return wire.says_something(text) and any(f'"{text.strip()}"' in one for one in template.texts.values())


def _between(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"
