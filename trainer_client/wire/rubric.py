"""Defines a criterion, a rubric, and what follows from their fields: sign, category and counted points.

Guarantees: both sides of the wire read a criterion's points, category and judged text from here.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from trainer_client.wire.models import Strict
from trainer_client.wire.verifiers import Verifier, tag_pairs, verifier_of_tags

Polarity = Literal["positive", "negative"]


class Criterion(Strict):
    """One thing to check. `points` above 0 is wanted, below 0 a fault, 0 is judged and reported but never counted.

    Also accepted: `criterion` for `text`; `{title, description, weight}` as in Rubrics as Rewards.
    """

    text: str = Field(min_length=1, description="What is literally true or not true of the response.")
    points: float = Field(description="Weight and sign; negative means a fault, 0 means monitor only.")
    id: str | None = Field(default=None, min_length=1, description="Echoed; default: the criterion's index as text.")
    tags: dict[str, str] = Field(default_factory=dict, description='Also accepted as a list of `"key:value"`.')
    verifier: Verifier | None = Field(default=None, description="A rule that decides instead of the judge.")
    polarity: Polarity | None = Field(
        default=None, description="Overrides the sign of `points` where a data set's sign convention is wrong."
    )

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Tells the user to see a doctor.", "points": 5}]}
    )

    @model_validator(mode="before")
    @classmethod
    def _other_shapes(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for ours, theirs in (("text", "criterion"), ("text", "description"), ("points", "weight")):
            if theirs in data:
                if ours in data:
                    raise ValueError(f"`{theirs}` and `{ours}` say the same thing; give one")
                data[ours] = data.pop(theirs)
        data["tags"] = tag_pairs(data.get("tags", {}))
        title = data.pop("title") if isinstance(data.get("title"), str | None) and "title" in data else None
        if title is not None and isinstance(data["tags"], dict):
            data["tags"] = {"title": title, **data["tags"]}
        if data.get("verifier") is None and isinstance(data["tags"], dict):
            data["verifier"] = verifier_of_tags(data["tags"])
        return data

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("a criterion's `text` must say something; white space alone asks the judge nothing")
        return text


def first_repeated(ids: Iterable[str]) -> tuple[int, int] | None:
    """The places of the first two ids that are equal."""
    seen: dict[str, int] = {}
    for place, id in enumerate(ids):
        if id in seen:
            return seen[id], place
        seen[id] = place
    return None


class Rubric(Strict):
    """The criteria of one item. Also accepted as a bare list."""

    criteria: list[Criterion] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _bare_list(cls, data: Any) -> Any:
        return {"criteria": data} if isinstance(data, list) else data

    @model_validator(mode="after")
    def _distinct_ids(self) -> Self:
        if same := first_repeated(self.ids()):
            raise ValueError(
                f"criteria {same[0]} and {same[1]} have one id; ids must be distinct (without one, the index is the id)"
            )
        return self

    def ids(self) -> Iterator[str]:
        """The criteria's ids, defaults filled in."""
        return (str(i) if c.id is None else c.id for i, c in enumerate(self.criteria))
