"""Leaves criteria out of a group's reward: which ones is drawn again at each step, and is the same for the whole group.

This is rubric dropout (arXiv 2608.11669): a policy that is rewarded for a changing part of its rubric has a harder time
learning what the judge lets pass in single criteria.

Guarantees: the mask follows from the seed, the row's id and the step, so that members, processes and restarts agree.
Negative and protected criteria are kept, and at least `keep` positive ones, or all where the rubric has fewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from trainer_client import wire


@dataclass(frozen=True, slots=True)
class RubricDropout:
    """`share` of the positive criteria are left out. `protect` holds what is never left out: a criterion's id, its
    category, a tag as `key:value`, or a tag's key."""

    share: float = 0.4
    keep: int = 3
    protect: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1 or self.keep < 1:
            raise ValueError("`share` is at least 0 and below 1, and `keep` at least 1")

    def kept(self, rubric: Sequence[wire.Criterion], *, row: str, step: int) -> tuple[int, ...]:
        """The criteria that count for this row at this step, as indexes of the rubric in its order.

        Of the n positive criteria round(share x n) are left out (Python's `round`), at most as many as `keep` and
        `protect` allow: those whose SHA-256 of seed, row, step and id is smallest.
        """
        positive = [place for place, criterion in enumerate(rubric) if criterion.worth > 0]
        free = [place for place in positive if not rubric[place].is_one_of(self.protect, place)]
        most = min(round(self.share * len(positive)), max(len(positive) - self.keep, 0), len(free))
        drawn = sorted(free, key=lambda place: self._draw(row, step, id_of(rubric, place)))[:most]
        return tuple(place for place in range(len(rubric)) if place not in drawn)

    def _draw(self, row: str, step: int, criterion: str) -> bytes:
        parts = (str(self.seed), row, str(step), criterion)
        return sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).digest()


def id_of(rubric: Sequence[wire.Criterion], place: int) -> str:
    """The id by which the service answers: a criterion's own, or its place."""
    return rubric[place].id or str(place)


def named(rubric: Sequence[wire.Criterion]) -> list[wire.Criterion]:
    """The criteria with their ids written out, so that a part of them keeps the ids of the whole."""
    return [
        one if one.id is not None else one.model_copy(update={"id": id_of(rubric, place)})
        for place, one in enumerate(rubric)
    ]
