"""Who is next, so that each gets its share by weight: start-time fair queueing (Goyal, Vin and Cheng, 1996).

Always true: what a key got over any time is at most its share of what another key got that waited all the time, plus
the credit and one turn of each. Pure; knows no tickets.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

PriorityClass = Literal["interactive", "train", "eval"]

CLASS_WEIGHTS: Mapping[PriorityClass, float] = MappingProxyType({"interactive": 16.0, "train": 4.0, "eval": 1.0})


@dataclass(frozen=True, slots=True)
class Tenant:
    """A team with its weight, and the class of its request."""

    team: str = ""
    weight: float = 1.0
    priority_class: PriorityClass = "train"

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError("a weight is a positive number")


DEFAULT_TENANT = Tenant()

Key = TypeVar("Key", bound=Hashable)


class FairShare(Generic[Key]):
    """Keys that have work, by virtual time: what each was charged, over its weight. `credit` is in the unit of charges:
    how far ahead of the others one may go that comes back; who comes for the first time has none. Keys are few, and
    remembered for good."""

    def __init__(self, credit: float = 0.0) -> None:
        self._credit = credit
        self._weights: dict[Key, float] = {}
        self._charged: dict[Key, float] = {}
        self._now = 0.0

    def enter(self, key: Key, weight: float) -> None:
        """The key has work, and from now on this weight."""
        if key not in self._weights:
            earliest = self._now - self._credit / weight
            self._charged[key] = max(self._charged.get(key, self._now), earliest)
        self._weights[key] = weight

    def leave(self, key: Key) -> None:
        """The key has no more work."""
        self._weights.pop(key, None)

    def __bool__(self) -> bool:
        return bool(self._weights)

    def next(self, waiting: Callable[[Key], float] = lambda key: 0.0) -> Key | None:
        """Whose turn it is: of those behind the others the one with the least `waiting`, the first to come of equals;
        else who got least; None where nobody has work. Who has more waiting than its credit could serve forfeits it.
        Only here, with nobody behind, does virtual time go on: a turn may be many charges long."""
        behind = []
        for key in self._weights:
            if self._charged[key] < self._now:
                if waiting(key) > self._credit:
                    self._charged[key] = self._now
                else:
                    behind.append(key)
        if behind:
            return min(behind, key=waiting)
        least = min(self._weights, key=self._charged.__getitem__, default=None)
        if least is not None:
            self._now = self._charged[least]
        return least

    def charge(self, key: Key, amount: float) -> None:
        """The key, which has work, got this much."""
        self._charged[key] += amount / self._weights[key]
