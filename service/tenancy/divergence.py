"""Counts for one team on which criteria a judge and its shadow differ, for the team itself to ask.

Guarantees: at most `MOST` criteria are kept, each with the beginning of its text; a new one takes the place of the one
that was compared least. A difference is a mean over verdicts that both gave, None where there was none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

MOST = 200
_SHOWN_CHARACTERS = 200


@dataclass(slots=True)
class CriterionDivergence:
    """`compared` are criteria of responses that the shadow was asked about; on `differs` of them it said otherwise, and
    on `unjudged` nothing."""

    text: str
    compared: int = 0
    differs: int = 0
    unjudged: int = 0
    measured: int = 0
    apart: float = 0.0

    @property
    def difference(self) -> float | None:
        """How far apart P(met) is on average."""
        return self.apart / self.measured if self.measured else None


class Divergence:
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: dict[bytes, CriterionDivergence] = {}

    def count(self, text: str, outcome: str, apart: float | None) -> None:
        """`outcome` is `same`, `differs` or `unjudged`."""
        key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= self._most:
                del self._known[min(self._known, key=lambda one: self._known[one].compared)]
            found = self._known[key] = CriterionDivergence(text[:_SHOWN_CHARACTERS])
        found.compared += 1
        found.differs += outcome == "differs"
        found.unjudged += outcome == "unjudged"
        if apart is not None:
            found.measured += 1
            found.apart += apart

    def widest(self, number: int = 20) -> Sequence[CriterionDivergence]:
        """Those on which the two differ most often, and then most."""
        return sorted(self._known.values(), key=lambda one: (-one.differs, -(one.difference or 0.0)))[:number]
