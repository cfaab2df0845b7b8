"""Chooses a calibration by its log loss on rows that it was not fitted to, and says what the whole procedure gains.

Guarantees: rows of one prompt are in one fold. A calibration is chosen over a simpler one where it is better by more
than a standard error, so `none` wins ties. What the choice is worth is measured in an outer round of folds, in which
neither the fit nor the choice has seen the rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer_client import wire
from trainer_client.calibration.candidates import Candidate, candidates
from trainer_client.calibration.curves import Floats
from trainer_client.calibration.rows import Rows

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate with its mean log loss out of fold, by how much that is above the best one's, and the standard error
    of the difference."""

    candidate: Candidate
    log_loss: float
    above_best: float
    error: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """P(met) of each row, calibrated without the row's prompt: `held_out` by the chosen candidate, `cross_fitted` by
    one that was chosen without it as well. The first is what it does, the second what choosing is worth."""

    candidate: Candidate
    curves: tuple[wire.CalibrationCurve, ...]
    tried: tuple[Tried, ...]
    held_out: Floats
    cross_fitted: Floats


def choose(rows: Rows, *, seed: int = 0) -> Chosen:
    offered = candidates(rows)
    tried = compare(rows, offered, seed)
    best = simplest(tried)
    held_out, cross_fitted = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for fitted, left in folds(rows.groups, seed):
        inner, outer = rows.take(fitted), rows.take(left)
        held_out[left] = best.predict(best.fit(inner), outer)
        chosen = simplest(compare(inner, offered, seed + 1))
        cross_fitted[left] = chosen.predict(chosen.fit(inner), outer)
    return Chosen(best, best.fit(rows), tried, held_out, cross_fitted)


def compare(rows: Rows, offered: Sequence[Candidate], seed: int) -> tuple[Tried, ...]:
    losses = np.full((len(offered), len(rows)), np.nan)
    for fitted, held_out in folds(rows.groups, seed):
        inner, outer = rows.take(fitted), rows.take(held_out)
        for place, candidate in enumerate(offered):
            losses[place, held_out] = losses_of(outer, candidate.predict(candidate.fit(inner), outer))
    means = losses.mean(axis=1)
    differences = losses - losses[int(means.argmin())]
    errors = [standard_error(one, rows.groups) for one in differences]
    above = differences.mean(axis=1)
    return tuple(
        Tried(candidate, float(mean), float(more), error)
        for candidate, mean, more, error in zip(offered, means, above, errors, strict=True)
    )


def simplest(tried: Sequence[Tried]) -> Candidate:
    """The first one that is within a standard error of the best."""
    return next(one.candidate for one in tried if one.above_best <= one.error)


def losses_of(rows: Rows, p: Floats) -> Floats:
    inside = np.clip(p, 1e-12, 1 - 1e-12)
    return -np.where(rows.met, np.log(inside), np.log1p(-inside))


def standard_error(differences: Floats, groups: NDArray[np.intp]) -> float:
    """Of the mean of differences that hang together in groups."""
    centred = np.bincount(np.unique(groups, return_inverse=True)[1], weights=differences - differences.mean())
    return float(np.sqrt((centred**2).sum()) / len(differences))


def folds(groups: NDArray[np.intp], seed: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Indexes to fit to and indexes held out, for each fold; each fold has whole groups and about as many rows."""
    names, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    number = min(FOLDS, len(names))
    filled, fold_of = np.zeros(number), np.zeros(len(names), dtype=np.intp)
    for group in np.random.default_rng(seed).permutation(len(names)):
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    for fold in range(number):
        held_out = fold_of[group_of] == fold
        yield np.flatnonzero(~held_out), np.flatnonzero(held_out)
