"""Defines the aggregations: a name alone, or a name with the options of its formula.

Guarantees: an option that belongs to another aggregation, or to none, is an error that names those which there are.
"""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError, model_validator

from trainer_client.wire.models import MAX_POINTS, MIN_POINTS, Id, Strict

AggregationName = Literal[
    "healthbench",
    "healthbench_clipped",
    "rar_explicit",
    "weighted_abs",
    "all_pass",
    "mean",
    "min",
    "gated",
    "conjunctive",
    "factual_gate",
    "veto",
    "caps",
    "saturation",
]
LINEAR: tuple[AggregationName, ...] = ("healthbench", "rar_explicit", "weighted_abs", "mean")
"""The aggregations that are weighted sums of the criteria's values."""

_NAMES: tuple[str, ...] = get_args(AggregationName)
_Weight = Annotated[float, Field(ge=MIN_POINTS, le=MAX_POINTS)]


class _Options(Strict):
    """What every aggregation as an object shares."""

    _thing: ClassVar[str] = "an option of this aggregation"

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        options = [name for name in cls.model_fields if name != "name"]
        for name in data:
            if name != "name" and name not in options:
                near = get_close_matches(str(name), options, n=1, cutoff=0.7)
                meant = f"; did you mean `{near[0]}`?" if near else ""
                has = ", ".join(f"`{option}`" for option in options) or "none"
                raise ValueError(f"{cls._thing} is not known; known: {has}{meant}")
        return data


class WithoutOptions(_Options):
    """The aggregations whose formulas have nothing to choose."""

    name: Literal["healthbench", "healthbench_clipped", "weighted_abs", "all_pass", "mean", "min", "gated"] = Field(
        description="The aggregation."
    )


class CategoryWeights(_Options):
    """What a criterion of each category weighs. The defaults are those of version 2 of Rubrics as Rewards; version 1
    had 0.8 for pitfalls."""

    _thing: ClassVar[str] = "a category"

    essential: _Weight = Field(default=1.0, description="The weight of an essential criterion.")
    important: _Weight = Field(default=0.7, description="The weight of an important one.")
    optional: _Weight = Field(default=0.3, description="The weight of an optional one.")
    pitfall: _Weight = Field(default=0.9, description="The weight of a pitfall.")


class RarExplicit(_Options):
    """Rubrics as Rewards: the mean, weighted by category."""

    name: Literal["rar_explicit"] = Field(description="The aggregation.")
    category_weights: CategoryWeights = Field(
        default=CategoryWeights(), description="What a criterion of each category weighs; left out: its default."
    )


class Conjunctive(_Options):
    """ProRubric: a dimension counts whole or not at all."""

    name: Literal["conjunctive"] = Field(description="The aggregation.")
    tag: Id = Field(default="dimension", description="Criteria with one value of this tag count together or not.")


class FactualGate(_Options):
    """RGR-GRPO: 1 where every factual criterion passes, else the weighted mean."""

    name: Literal["factual_gate"] = Field(description="The aggregation.")
    tag: Id = Field(default="kind", description="The tag that says which criteria are factual.")
    tag_value: Id | None = Field(default="factual", description="Its value at those; null: any.")


class Veto(_Options):
    """Rubicon: 0 where a criterion with the tag fails, else the weighted mean."""

    name: Literal["veto"] = Field(description="The aggregation.")
    tag: Id = Field(default="veto", description="The tag of the criteria that must pass.")
    tag_value: Id | None = Field(default=None, description="Its value at those; null: any.")


class Caps(_Options):
    """Rubicon: a dimension counts in full from a share of it."""

    name: Literal["caps"] = Field(description="The aggregation.")
    tag: Id = Field(default="dimension", description="Criteria with one value of this tag are a dimension.")
    cap: float = Field(default=0.8, gt=0, le=1, description="The share of a dimension from which it counts in full.")


class Saturation(_Options):
    """Rubicon: the later steps of a dimension count less."""

    name: Literal["saturation"] = Field(description="The aggregation.")
    tag: Id = Field(default="dimension", description="Criteria with one value of this tag are a dimension.")
    half_saturation: _Weight = Field(
        default=0.5, description="The smaller, the less the later steps of a dimension count."
    )


_PLAIN, _NAME = "(plain)", "(name)"


def _kind(value: Any) -> str | None:
    """Which of the shapes below a value is of; None for an object that names no aggregation."""
    if not isinstance(value, Mapping | _Options):
        return _NAME
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    if not isinstance(name, str) or name not in _NAMES:
        return None
    return name if name in _WITH_OPTIONS else _PLAIN


_WITH_OPTIONS = ("rar_explicit", "conjunctive", "factual_gate", "veto", "caps", "saturation")
_KINDS = frozenset({_NAME, _PLAIN, *_WITH_OPTIONS})
Aggregation = Annotated[
    Annotated[AggregationName, Tag(_NAME)]
    | Annotated[WithoutOptions, Tag(_PLAIN)]
    | Annotated[RarExplicit, Tag("rar_explicit")]
    | Annotated[Conjunctive, Tag("conjunctive")]
    | Annotated[FactualGate, Tag("factual_gate")]
    | Annotated[Veto, Tag("veto")]
    | Annotated[Caps, Tag("caps")]
    | Annotated[Saturation, Tag("saturation")],
    Discriminator(
        _kind,
        custom_error_type="unknown_aggregation",
        custom_error_message=f"give a `name`, one of {', '.join(_NAMES)}, and the options of that aggregation",
    ),
]
_ADAPTER: TypeAdapter[Aggregation] = TypeAdapter(Aggregation)


def aggregation_name(chosen: Aggregation) -> AggregationName:
    return chosen if isinstance(chosen, str) else chosen.name


@cache
def _defaults(name: AggregationName) -> Mapping[str, Any]:
    chosen = _ADAPTER.validate_python({"name": name})
    assert not isinstance(chosen, str)
    return MappingProxyType(chosen.model_dump())


def aggregation_options(chosen: Aggregation) -> Mapping[str, Any]:
    """The name and every option of an aggregation: a name alone means the options' defaults."""
    if isinstance(chosen, str):
        return _defaults(chosen)
    return chosen.model_dump()


def without_kind(place: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """A place in a request without the word that pydantic puts behind `aggregation` for the shape of its value."""
    at = place.index("aggregation") + 1 if "aggregation" in place else len(place)
    return (*place[:at], *place[at + 1 :]) if at < len(place) and place[at] in _KINDS else place


def read_aggregation(text: str) -> str | dict[str, Any]:
    """The aggregation that a person wrote: a name, or a JSON object; its defaults are left out. Raises ValueError with
    a sentence."""
    value: Any = text
    if text.lstrip().startswith("{"):
        try:
            value = json.loads(text)
        except ValueError:
            raise ValueError('this is no JSON object; write it as {"name": "caps", "cap": 0.7}') from None
    try:
        chosen = _ADAPTER.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, without_kind(("aggregation", *first["loc"]))[1:]))
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{place}: {message}" if place else message) from None
    if isinstance(chosen, str):
        return chosen
    given = chosen.model_dump(exclude_defaults=True)
    return given if len(given) > 1 else chosen.name
