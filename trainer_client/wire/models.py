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
    """A part of a request. Anything that does not fit is an error with its place."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """A part of an answer. A reader ignores unknown fields, so that the contract can grow."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True, hide_input_in_errors=True)
