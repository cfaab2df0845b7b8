"""Defines the rules that can decide a criterion instead of the judge, and how RuscaRL's tags name them."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from trainer_client.wire.models import MAX_TEXT_CHARACTERS, Strict, Text, says_something


class _Rule(Strict):
    """`on` says what a rule looks at in a trajectory: the assistant's `final` text, as by default, or `all` it says."""

    on: Literal["final", "all"] | None = Field(
        default=None,
        description="What it looks at in a trajectory: the assistant's `final` text (as null), or `all` that it says.",
    )


class MathVerify(_Rule):
    """Met when the response's final answer equals `gold` mathematically (math-verify library)."""

    rule: Literal["math_verify"] = Field(description="The rule.")
    gold: Text = Field(description="The right answer, as LaTeX or plain text.")

    @field_validator("gold")
    @classmethod
    def _says_something(cls, gold: str) -> str:
        if not says_something(gold):
            raise ValueError("`gold` must say something")
        return gold


class Regex(_Rule):
    """Met when `pattern` is found anywhere in the response (`regex` library syntax, with a time limit)."""

    rule: Literal["regex"] = Field(description="The rule.")
    pattern: Text = Field(description="What is searched for.")
    ignore_case: bool = Field(default=False, description="Whether capital and small letters are equal.")


class Contains(_Rule):
    """Met when the response contains `text`."""

    rule: Literal["contains"] = Field(description="The rule.")
    text: Text = Field(description="What the response has to contain.")
    ignore_case: bool = Field(default=True, description="Whether capital and small letters are equal.")


class Choice(_Rule):
    """Met when the response's last stated choice (`Answer: B`, `\\boxed{B}`, a lone letter) is `gold`."""

    rule: Literal["choice"] = Field(description="The rule.")
    gold: str = Field(pattern=r"^[A-Za-z]$", description="The letter of the right choice.")


class Length(_Rule):
    """Met when the response's length lies in `min`..`max`, both inclusive."""

    rule: Literal["length"] = Field(description="The rule.")
    min: int | None = Field(default=None, ge=0, description="The least length; null: there is none.")
    max: int | None = Field(default=None, ge=0, description="The greatest length; null: there is none.")
    unit: Literal["words", "characters"] = Field(default="words", description="What is counted.")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give `min`, `max` or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("`min` is larger than `max`")
        return self


class JsonSchema(_Rule):
    """Met when the whole response is a JSON document that satisfies the schema (draft 2020-12)."""

    rule: Literal["json_schema"] = Field(description="The rule.")
    json_schema: dict[str, Any] = Field(alias="schema", description="The schema that the document has to satisfy.")

    @field_validator("json_schema")
    @classmethod
    def _bounded(cls, schema: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(schema)) > 100_000:
            raise ValueError("the schema has more than 100000 characters as JSON")
        return schema


class Exact(_Rule):
    """Met when the response equals `gold`, white space at the ends aside."""

    rule: Literal["exact"] = Field(description="The rule.")
    gold: str = Field(max_length=MAX_TEXT_CHARACTERS, description="What the response has to be.")
    ignore_case: bool = Field(default=False, description="Whether capital and small letters are equal.")


Verifier = Annotated[MathVerify | Regex | Contains | Choice | Length | JsonSchema | Exact, Field(discriminator="rule")]

_RULES_BY_TAG = {"math_verify": "gold", "choice": "gold", "exact": "gold", "regex": "pattern", "contains": "text"}


def tag_pairs(tags: Any) -> Any:
    """`["k:v", …]` as `{"k": "v"}`. A tag without a colon gets an empty value, and a key that stands twice both values,
    joined by a comma. Anything else is left to validation."""
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return tags
    pairs: dict[str, list[str]] = {}
    for key, _, value in (tag.partition(":") for tag in tags):
        pairs.setdefault(key.strip(), []).append(value.strip())
    return {key: ", ".join(filter(None, values)) for key, values in pairs.items()}


def tags_of_verifier(verifier: "Verifier | None") -> dict[str, str]:
    """RuscaRL's tags that name this verifier; none where tags cannot express it."""
    if verifier is None or verifier.rule not in _RULES_BY_TAG:
        return {}
    return {
        "verifier": "rule",
        "function": verifier.rule,
        "parameters": getattr(verifier, _RULES_BY_TAG[verifier.rule]),
    }


def verifier_of_tags(tags: dict[str, str]) -> dict[str, str] | None:
    """The verifier that RuscaRL's tags `verifier:rule`, `function:F`, `parameters:P` name. Raises ValueError for an
    unknown function."""
    if tags.get("verifier") != "rule":
        return None
    function = tags.get("function", "")
    if function not in _RULES_BY_TAG:
        known = ", ".join(sorted(_RULES_BY_TAG))
        raise ValueError(f"tag `function` names no rule that tags can express; known: {known}")
    return {"rule": function, _RULES_BY_TAG[function]: tags.get("parameters", "")}
