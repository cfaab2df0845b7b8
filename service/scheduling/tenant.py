"""Whose work it is: what a fair queue shares by.

Always true: weights are positive; a team's classes share what the team has, so that using more of them gives no more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PriorityClass = Literal["interactive", "train", "eval"]

CLASS_WEIGHTS: Mapping[PriorityClass, float] = MappingProxyType({"interactive": 16.0, "train": 4.0, "eval": 1.0})


@dataclass(frozen=True, slots=True)
class Tenant:
    """A team with its weight, and the class of its request."""

    team: str = ""
    weight: float = 1.0
    kind: PriorityClass = "train"

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError("a weight is a positive number")


DEFAULT_TENANT = Tenant()
