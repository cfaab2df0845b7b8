"""Whose work it is: what a fair queue shares by."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["interactive", "train", "eval"]


@dataclass(frozen=True, slots=True)
class Flow:
    """A team with its weight, and the class of its request."""

    team: str = ""
    weight: float = 1.0
    kind: Kind = "train"


NOBODY = Flow()
