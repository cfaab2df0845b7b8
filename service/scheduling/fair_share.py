"""The fair-share state says whose turn it is, so that each key gets its share of the judge by weight.

It is start-time fair queueing (Goyal, Vin and Cheng, 1996): a key's virtual time is what it was charged over its
weight, and the key with the least virtual time is next. The queue shares by team, and within a team by priority class.

Guarantees: over any time a key gets at most its share of what another key got that had work all the time, plus the
burst credit and one turn of each. The state is pure and knows no tickets.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

PriorityClass = Literal["interactive", "train", "eval"]

CLASS_WEIGHTS: Mapping[PriorityClass, float] = MappingProxyType({"interactive": 16.0, "train": 4.0, "eval": 1.0})
"""The classes share what their team has, so that a team that uses several of them gets no more."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """The queue shares the judge by tenant: a team with its weight, and the priority class of a request."""

    team: str = ""
    weight: float = 1.0
    priority_class: PriorityClass = "train"

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError("a weight is a positive number")


DEFAULT_TENANT = Tenant()

Key = TypeVar("Key", bound=Hashable)


class FairShare(Generic[Key]):
    """The keys that have work, and the virtual time of each key.

    `burst_credit`, in the unit of charges, is how far ahead of the others a key may go when it comes back. Keys are
    few, so they are remembered for good.
    """

    def __init__(self, burst_credit: float = 0.0) -> None:
        self._burst_credit = burst_credit
        self._weights: dict[Key, float] = {}
        self._virtual_times: dict[Key, float] = {}
        self._now = 0.0

    def enter(self, key: Key, weight: float) -> None:
        """The key has work, and from now on this weight."""
        if key not in self._weights:
            # A key that comes back may be behind by its burst credit, however long it sent nothing. A new key has none:
            # else the first one after a start would hold the judge until the whole credit is used up.
            earliest = self._now - self._burst_credit / weight
            self._virtual_times[key] = max(self._virtual_times.get(key, self._now), earliest)
        self._weights[key] = weight

    def leave(self, key: Key) -> bool:
        """The key has no more work. Returns whether any other key has."""
        self._weights.pop(key, None)
        return bool(self._weights)

    def next(self, queued: Callable[[Key], float] = lambda key: 0.0) -> Key | None:
        """The key whose turn it is; None where no key has work. `queued` says how much work a key has, in the unit of
        charges."""
        behind = []
        for key in self._weights:
            if self._virtual_times[key] < self._now:
                # A key with more work than its credit covers forfeits the credit: else a noisy neighbour that paused
                # for a moment would come back ahead of everybody, who would wait until the credit is used up.
                if queued(key) > self._burst_credit:
                    self._virtual_times[key] = self._now
                else:
                    behind.append(key)
        if behind:
            # The least work goes first, and of equals the first that entered: taking turns would end all of them later.
            return min(behind, key=queued)
        least = min(self._weights, key=self._virtual_times.__getitem__, default=None)
        if least is not None:
            # Virtual time advances only here, when no key is behind. A turn may be many charges long, and a time that
            # advanced with every charge starved two of five teams in the simulation.
            self._now = self._virtual_times[least]
        return least

    def charge(self, key: Key, amount: float) -> None:
        """The key, which has work, got this much."""
        self._virtual_times[key] += amount / self._weights[key]
