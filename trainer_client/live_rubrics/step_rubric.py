"""Holds the rubric of one row at one step of a training: its criteria, and which of them count for the reward."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer_client import wire
from trainer_client.live_rubrics.dropout import RubricDropout, id_of, named


@dataclass(frozen=True, slots=True)
class StepRubric:
    """`kept` are indexes of `criteria`, in their order. Each criterion has its id written out."""

    criteria: tuple[wire.Criterion, ...]
    kept: tuple[int, ...]

    @property
    def counted(self) -> list[wire.Criterion]:
        """The criteria that make up the reward."""
        return [self.criteria[place] for place in self.kept]

    @property
    def dropped(self) -> list[str]:
        """The ids of the criteria that are left out."""
        return [id_of(self.criteria, place) for place in range(len(self.criteria)) if place not in self.kept]

    @property
    def dropped_share(self) -> float:
        return 1 - len(self.kept) / len(self.criteria)


def step_rubric(rubric: Sequence[wire.Criterion], dropout: RubricDropout | None, *, row: str, step: int) -> StepRubric:
    """The rubric of this row at this step."""
    kept = tuple(range(len(rubric))) if dropout is None else dropout.kept(rubric, row=row, step=step)
    return StepRubric(tuple(named(rubric)), kept)
