"""Defines the two kinds of models that the contract is made of, and the words that both directions use.

Guarantees: input is strict. An unknown field, a number in a string, a boolean for a number and a number that is not
finite are errors, and so is what is larger than the bounds here.
"""

import json
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Mode = Literal["verdict", "reasoned", "implicit", "likert"]
AnyMode = Literal["verdict", "reasoned", "implicit", "likert", "compare"]
"""A mode of `POST /v1/score`, or that of `POST /v1/compare`."""
Layout = Literal["rubricd", "healthbench", "simple_evals"]
FIRST_LAYOUTS = frozenset({"rubricd", "healthbench"})
"""Those that every client knows."""
Unjudged = Literal["lower", "middle"]
CacheUse = Literal["use", "refresh", "bypass"]
Batch = Literal["all"]
"""All criteria of a response in one document."""
MAX_POINTS = 1e6
MIN_POINTS = 1e-6
"""Points are 0, or in size between these, so that scores and their sums are far from the limits of a float32."""
MAX_ID_CHARACTERS = 256
MAX_TEXT_CHARACTERS = 32_768
"""The longest text of a criterion and of a rule."""
MAX_TURNS = 4_096
MAX_DOCUMENTS = 64
MAX_TAGS = 64
MAX_DEADLINE_MS = 86_400_000
"""A day."""

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
Documents = Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=MAX_DOCUMENTS)]

# Characters of other kinds that show nothing: fillers of Hangul, the blank of Braille.
_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def says_something(text: str) -> bool:
    """Returns whether a reader would see anything: white space, control and format characters (such as those of zero
    width) and marks that stand on nothing are not seen."""
    first = text[:1]
    return (first.isascii() and first.isalnum()) or any(map(_is_seen, text))  # nearly all texts begin so


def _is_seen(character: str) -> bool:
    if character.isalnum() and character not in _BLANKS:
        return True
    return (
        character.isprintable()
        and not character.isspace()
        and character not in _BLANKS
        and not unicodedata.category(character).startswith("M")
    )


def is_none(value: object) -> bool:
    """For fields that are left out of what is written where they say nothing."""
    return value is None


class Strict(BaseModel):
    """A part of a request. Anything that does not fit is an error with its place."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """A part of an answer. A reader ignores unknown fields, so that the contract can grow."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


MAX_METADATA_CHARACTERS = 16_384
"""As JSON. It comes back once for each response."""
MAX_METADATA_LEVELS = 32


def _carried(metadata: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError for what cannot be carried to an answer."""
    try:
        characters, levels = len(json.dumps(metadata, allow_nan=False)), _levels(metadata)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("`metadata` must be JSON: texts, finite numbers, true, false, null, lists, objects") from None
    if characters > MAX_METADATA_CHARACTERS:
        raise ValueError(f"`metadata` has more than {MAX_METADATA_CHARACTERS} characters as JSON; send less")
    if levels > MAX_METADATA_LEVELS:  # what is nested deeper cannot be written into the answer
        raise ValueError(f"`metadata` has more than {MAX_METADATA_LEVELS} levels; send it flatter")
    return metadata


def _levels(value: Any) -> int:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return 0
    return 1 + max(map(_levels, value), default=0)


Metadata = Annotated[dict[str, Any], AfterValidator(_carried)]
"""What a caller knows of an item; it is carried to its results."""
