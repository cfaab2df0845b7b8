"""Keeps how far the policy has learnt each criterion of a row, and turns it into weights for the scaffold's choice.

Guarantees: an answer counts for a criterion that its prompt did not reveal, so that what a scaffold brought about is
not taken for learnt. A criterion that was never judged so weighs as one that half of the answers do right. It has no
side effects.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trainer_client import wire
from trainer_client.live_rubrics.dropout import id_of

_REMEMBERED = 0.5
"""What an answer still counts after the next group of its row."""


@dataclass(frozen=True, slots=True)
class PassRates:
    """Of one row. `counts` are, by criterion's id, the answers that met it and all that were judged, older ones for
    less."""

    counts: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def after(self, answers: Iterable[Mapping[str, bool]]) -> "PassRates":
        """With one more group; an answer has the criteria that it was not shown and that were judged."""
        found = {id: (_REMEMBERED * met, _REMEMBERED * seen) for id, (met, seen) in self.counts.items()}
        for answer in answers:
            for id, met in answer.items():
                had, seen = found.get(id, (0.0, 0.0))
                found[id] = (had + met, seen + 1.0)
        return PassRates(found)

    def weights(self, rubric: Sequence[wire.Criterion]) -> list[float]:
        """One minus the share of answers that do right by each criterion, (right + 1) / (judged + 2): to meet it, or
        with negative points not to. They lie between 0 and 1."""
        return [1.0 - self._learnt(one, id_of(rubric, place)) for place, one in enumerate(rubric)]

    def _learnt(self, criterion: wire.Criterion, id: str) -> float:
        met, seen = self.counts.get(id, (0.0, 0.0))
        return ((met if criterion.worth >= 0 else seen - met) + 1.0) / (seen + 2.0)
