"""Defines the two kinds of models that the contract is made of, and the words that both directions use.

Guarantees: input is strict. An unknown field, a number in a string, a boolean for a number and a number that is not
finite are errors.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Mode = Literal["verdict", "reasoned", "implicit", "likert"]
Layout = Literal["rubricd", "healthbench"]
Aggregation = Literal[
    "healthbench",
    "healthbench_clipped",
    "rar_explicit",
    "weighted_abs",
    "all_pass",
    "mean",
    "min",
    "gated",
]


class Strict(BaseModel):
    """What a caller writes: every slip is an error with a place, never a guess."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """What the service writes. Unknown fields are kept out of the reader's way, so that it may grow."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True, hide_input_in_errors=True)
