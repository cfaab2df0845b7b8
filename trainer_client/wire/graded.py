"""Defines criteria that are more than met or not met: levels, choices, and values that the judge extracts.

Guarantees: what a level's `value` means follows from whether the criterion has `points`, and from nothing else.
"""

import itertools
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from trainer_client.wire.models import MAX_POINTS, Strict, Text, says_something
from trainer_client.wire.verifiers import Verifier

MOST_LEVELS, MOST_CHOICES = 10, 200
MAX_INSTRUCTIONS_CHARACTERS = 4_000
MAX_VALUE_CHARACTERS = 1_000
MAX_VALUES = 32
"""The longest text that a judge extracts, and the most texts of a list."""


def _said(text: str) -> str:
    if not says_something(text):
        raise ValueError("it must say something; white space and characters that nobody sees name nothing")
    return text


SaidText = Annotated[Text, AfterValidator(_said)]


class Level(Strict):
    """One level of a graded criterion, or one of its choices: what is true of a response on it, and its worth."""

    text: SaidText = Field(description="What is true of a response on this level.")
    value: float = Field(
        ge=0, le=1, description="The share of the criterion's `points` that it earns. Without `points`: the points."
    )


Levels = Annotated[list[Level], Field(min_length=2, max_length=MOST_LEVELS)]
Choices = Annotated[list[Level], Field(min_length=2, max_length=MOST_CHOICES)]
ExtractType = Literal["number", "integer", "string", "date", "choice", "list"]


class Extract(Strict):
    """The judge writes a value that the response states, and `rule` compares it with the right one, which the judge
    never sees."""

    type: ExtractType = Field(description="The kind of value.")
    instructions: Annotated[SaidText, Field(max_length=MAX_INSTRUCTIONS_CHARACTERS)] = Field(
        description="What to look for. The judge reads this in place of the criterion's `text`, so do not name the "
        "right value here."
    )
    rule: Verifier = Field(description="A verifier that looks at the value in place of the response.")
    choices: list[Annotated[SaidText, Field(max_length=MAX_VALUE_CHARACTERS)]] | None = Field(
        default=None, min_length=2, max_length=MOST_CHOICES, description="Type `choice`: the values to choose from."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.type == "choice") != (self.choices is not None):
            raise ValueError("`choices` belong to type `choice`, which needs them")
        if self.choices is not None and len(set(self.choices)) != len(self.choices):
            raise ValueError("two `choices` are the same; leave one of them out")
        if self.rule.on is not None:
            raise ValueError("`on` has no meaning here: the rule looks at the extracted value; leave it out")
        if self.rule.rule in ("exact", "contains") and not says_something(getattr(self.rule, _GOLD[self.rule.rule])):
            raise ValueError("the right value must say something: an empty one would be met by every value")
        return self


_GOLD: Mapping[str, str] = {"exact": "gold", "contains": "text"}


def other_options(data: dict[str, Any]) -> dict[str, Any]:
    """A criterion as autorubric writes it (`requirement`, `scale_type`, `options` of `label`, `value`), or verifiers
    (`choices` as names, the worst first), in our names. Raises ValueError for an option without a value."""
    if "requirement" in data and not data.keys() & {"text", "criterion", "description"}:
        data = {**data, "text": data["requirement"]}
        del data["requirement"]
    if "name" in data and "id" not in data:
        data["id"] = data.pop("name")
    named = data.get("choices")
    if isinstance(named, list) and len(named) > 1 and all(isinstance(one, str) for one in named):
        data["levels"] = [{"text": one, "value": at / (len(named) - 1)} for at, one in enumerate(data.pop("choices"))]
    if "options" not in data:
        return data
    options, scale = data.pop("options"), data.pop("scale_type", "ordinal")
    if not isinstance(options, list) or not all(isinstance(one, dict) for one in options):
        raise ValueError("`options` is a list of objects with `label` and `value`")
    if any(one.get("na") for one in options):
        raise ValueError("an option with `na` has no value here; leave it out, and a judge that cannot tell abstains")
    if scale not in ("ordinal", "nominal"):
        raise ValueError("`scale_type` is `ordinal` or `nominal`")
    name = "levels" if scale == "ordinal" else "choices"
    return {**data, name: [{"text": one.get("label"), "value": one.get("value")} for one in options]}


def with_points(data: dict[str, Any]) -> dict[str, Any]:
    """A criterion's fields, where values in points have become points and shares of them. Values of levels are shares
    of `points` where it has these; where it has none, they are points themselves. Raises ValueError."""
    name = next((one for one in ("levels", "choices") if data.get(one) is not None), None)
    if name is None:
        return data
    options = data[name]
    if not isinstance(options, list) or not all(isinstance(one, dict) for one in options):
        return data
    values = [one.get("value") for one in options]
    if not all(type(value) in (int, float) for value in values):
        return data
    if "points" in data:
        if not all(0 <= value <= 1 for value in values):
            raise ValueError(
                f"with `points` the values of `{name}` are shares of them, 0 to 1; leave `points` out to give values "
                "in points"
            )
        return data
    points = max(values, key=abs, default=0)
    if not 0 < abs(points) <= MAX_POINTS:
        raise ValueError(f"without `points` the values of `{name}` are points, and one of them is not 0")
    if any(value * points < 0 for value in values):
        raise ValueError(
            f"the values of `{name}` have both signs; points of one criterion are all wanted (0 and above) or all of a "
            "fault (0 and below), so make two criteria of it"
        )
    shares = [{**one, "value": abs(one["value"] / points)} for one in options]
    return {**data, "points": points, name: shares}


def check_options(levels: Sequence[Level] | None, choices: Sequence[Level] | None) -> None:
    """Raises ValueError for options that cannot be told apart, or levels without an order."""
    for name, options in (("levels", levels), ("choices", choices)):
        texts = [one.text for one in options or ()]
        if len(set(texts)) != len(texts):
            raise ValueError(f"two of the `{name}` have one text; a judge cannot tell them apart")
    values = [level.value for level in levels or ()]
    pairs = list(itertools.pairwise(values))
    if not (all(a < b for a, b in pairs) or all(a > b for a, b in pairs)):
        raise ValueError(
            "the values of `levels` go up from each to the next, or down; give options without an order as `choices`"
        )


def one_way(fields: Mapping[str, Any]) -> None:
    """Raises ValueError where a criterion is to be decided in more than one way."""
    given = [name for name in ("levels", "choices", "extract", "verifier") if fields.get(name) is not None]
    if len(given) > 1:
        ways = " and ".join(f"`{name}`" for name in given)
        raise ValueError(f"{ways} each decide a criterion alone; give one of them")


def is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
