"""Turns logged rollouts into arrays: one row for each rollout, and one for each of its verdicts.

A criterion is the same in two rubrics where its text and the sign of its points are; a log without texts tells criteria
apart by prompt and id. Its `value` in a rollout is 1 where the answer does well: met where its points are positive or
0, not met where it is a fault. One with levels has the value of the level that was taken, which is a share of its
points; of a fault it is what is left of 1. Where a log does not say a criterion's points its sign is not known, and
neither is its value.

Guarantees: a verdict that is missing has a row and is NaN, and so is the share of a level whose value is not known.
Groups and criteria are numbered in the order of the log, so that later rollouts change no number.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer_client.rollouts import LoggedVerdict, Rollout

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Named:
    """A criterion: its id and its points in the first rubric that has it, None where the log does not say them, what it
    says, and whether it has levels or choices."""

    id: str
    text: str | None
    points: float | None
    graded: bool = False

    @property
    def is_fault(self) -> bool:
        return self.points is not None and self.points < 0

    @property
    def has_sign(self) -> bool:
        """Whether the log says if it is wanted or a fault."""
        return self.points is not None


@dataclass(frozen=True, slots=True)
class Table:
    """Rollouts (R,): step, group, reward (NaN where there is none), length in characters, a number for each different
    answer. Verdicts (V,): rollout, criterion, met (1, 0 or NaN), points (NaN where the log does not say them), and the
    share of these: met, or the value of the level."""

    step: Ints
    group: Ints
    reward: Floats
    length: Floats
    answer: Ints
    rollout: Ints
    criterion: Ints
    met: Floats
    points: Floats
    share: Floats
    criteria: tuple[Named, ...]

    @property
    def value(self) -> Floats:
        """1 where the answer does well by the criterion, 0 where not, between them by its level; NaN where its sign is
        not known (V,)."""
        signed = np.where(self.points < 0, 1 - self.share, self.share)
        return np.where(np.isnan(self.points), np.nan, signed)

    @property
    def without_sign(self) -> int:
        """How many criteria have no points in the log."""
        return sum(not one.has_sign for one in self.criteria)


def without_sign(table: Table) -> str:
    """What is not known of criteria whose points the log does not say."""
    return (
        f"{table.without_sign:,} of {len(table.criteria):,} criteria have no points in this log, so that they may be "
        "wanted or faults: they raise no alarm and are in no discrimination; log `points`, or the rubric"
    )


class Names:
    """Numbers criteria in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, bool | None], int] = {}
        self._named: list[Named] = []

    def number(self, rollout: Rollout, verdict: LoggedVerdict) -> int:
        """The number of the verdict's criterion."""
        points = verdict.points
        key = (verdict.text or f"{rollout.id}/{verdict.id}", None if points is None else points < 0)
        if key not in self._numbers:
            self._numbers[key] = len(self._named)
            self._named.append(Named(verdict.id, verdict.text, points, verdict.is_graded))
        return self._numbers[key]

    @property
    def named(self) -> tuple[Named, ...]:
        return tuple(self._named)


class Observed:
    """Collects rollouts, in the order of the log."""

    def __init__(self) -> None:
        self.names = Names()
        self._rows: list[tuple[int, int, float, int, int]] = []
        self._verdicts: list[tuple[int, int, float, float, float]] = []
        self._groups: dict[str, int] = {}
        self._answers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rollouts: Iterable[Rollout]) -> None:
        for one in rollouts:
            place = len(self._rows)
            reward = one.score if one.reward is None else one.reward
            self._rows.append(
                (
                    0 if one.step is None else one.step,
                    self._groups.setdefault(one.group, len(self._groups)),
                    float("nan") if reward is None else reward,
                    len(one.answer),
                    self._answers.setdefault(_digest(one.answer), len(self._answers)),
                )
            )
            for verdict in one.criteria:
                met = float("nan") if verdict.met is None else float(verdict.met)
                share = float("nan") if verdict.share is None else verdict.share
                points = float("nan") if verdict.points is None else verdict.points
                self._verdicts.append((place, self.names.number(one, verdict), met, points, share))

    def table(self) -> Table:
        """All rollouts so far."""
        rows = np.array(self._rows, dtype=np.float64).reshape(-1, 5)
        verdicts = np.array(self._verdicts, dtype=np.float64).reshape(-1, 5)
        whole = rows.astype(np.intp, copy=True) if not len(rows) else np.nan_to_num(rows).astype(np.intp)
        numbers = verdicts[:, :2].astype(np.intp)
        return Table(
            step=whole[:, 0],
            group=whole[:, 1],
            reward=rows[:, 2],
            length=rows[:, 3],
            answer=whole[:, 4],
            rollout=numbers[:, 0],
            criterion=numbers[:, 1],
            met=verdicts[:, 2],
            points=verdicts[:, 3],
            share=verdicts[:, 4],
            criteria=self.names.named,
        )


def sums(places: Ints, values: Floats, size: int) -> Floats:
    """The sum of the values at each place (size,)."""
    found: Floats = np.bincount(places, weights=values, minlength=size).astype(np.float64)
    return found


def counts(places: Ints, size: int) -> Ints:
    """How many values each place has (size,)."""
    found: Ints = np.bincount(places, minlength=size).astype(np.intp)
    return found


def ratio(above: Floats | Ints, below: Floats | Ints) -> Floats:
    """The quotient, NaN where it has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(below == 0, np.nan, above / np.asarray(below, np.float64))
    return found


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
