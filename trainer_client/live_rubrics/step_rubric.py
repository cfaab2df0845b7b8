"""Holds the rubric of one row at one step of a training: its criteria, and which of them count for the reward."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer_client import wire
from trainer_client.live_rubrics.dropout import RubricDropout, id_of, named
from trainer_client.live_rubrics.evolution import RowRubric, grown


@dataclass(frozen=True, slots=True)
class StepRubric:
    """`kept` are indexes of `criteria`, in their order. Each criterion has its id written out. The first `own` criteria
    are the row's own, and those behind them have evolved."""

    criteria: tuple[wire.Criterion, ...]
    kept: tuple[int, ...]
    own: int

    @property
    def counted(self) -> list[wire.Criterion]:
        """The criteria that make up the reward."""
        return [self.criteria[place] for place in self.kept]

    @property
    def shown(self) -> list[wire.Criterion]:
        """What a scaffold may reveal: the row's own criteria that count."""
        return [self.criteria[place] for place in self.kept if place < self.own]

    @property
    def dropped(self) -> list[str]:
        """The ids of the criteria that are left out."""
        return [id_of(self.criteria, place) for place in range(len(self.criteria)) if place not in self.kept]

    @property
    def dropped_share(self) -> float:
        """The share of all criteria that are left out."""
        return 1 - len(self.kept) / len(self.criteria)

    @property
    def evolved(self) -> tuple[wire.Criterion, ...]:
        """The criteria that are not the row's own."""
        return self.criteria[self.own :]

    @property
    def evolved_points_share(self) -> float:
        """The share of all |points| that evolved criteria hold."""
        return sum(abs(one.worth) for one in self.evolved) / sum(abs(one.worth) for one in self.criteria)


def step_rubric(
    rubric: Sequence[wire.Criterion],
    dropout: RubricDropout | None,
    *,
    row: str,
    step: int,
    evolved: RowRubric | None = None,
    drift: float = 0.0,
) -> StepRubric:
    """The rubric of this row at this step. Dropout leaves out of the row's own criteria; evolved ones all count."""
    kept = tuple(range(len(rubric))) if dropout is None else dropout.kept(rubric, row=row, step=step)
    whole = named(rubric) if evolved is None else grown(named(rubric), evolved, drift)
    return StepRubric(tuple(whole), (*kept, *range(len(rubric), len(whole))), len(rubric))
