"""Holds the statistics of agreement as pure functions of weighted samples, for one weighting or for many at once.

Shapes: a sample has N values; weights are (..., N), and the result has the leading shape, () for none. Whole weights
count a value so often, as a bootstrap does.

Guarantees: where a statistic has no value, such as an AUROC without a criterion that is met, it is NaN and no number.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
BINS = 10
_SMALLEST = float(np.finfo(np.float64).eps)


def weights_or_ones(weights: Floats | None, values: NDArray[Any]) -> Floats:
    return np.ones(values.shape[0]) if weights is None else weights


def ratio(above: Floats, below: Floats) -> Floats:
    """The quotient, NaN where it has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below == 0, np.nan, above / below)


def counts(labels: Bools, met: Bools, weights: Floats | None = None) -> tuple[Floats, Floats, Floats, Floats]:
    """True and false positives, false and true negatives."""
    weights = weights_or_ones(weights, labels)
    cells = np.stack([labels & met, ~labels & met, labels & ~met, ~labels & ~met], axis=1).astype(np.float64)
    found = weights @ cells
    return found[..., 0], found[..., 1], found[..., 2], found[..., 3]


def mean(values: Floats, weights: Floats | None = None) -> Floats:
    weights = weights_or_ones(weights, values)
    return ratio(weights @ values, weights.sum(axis=-1))


def accuracy(labels: Bools, met: Bools, weights: Floats | None = None) -> Floats:
    return mean((labels == met).astype(np.float64), weights)


def false_positive_rate(labels: Bools, met: Bools, weights: Floats | None = None) -> Floats:
    """The share of what is not met that the judge calls met."""
    _, fp, _, tn = counts(labels, met, weights)
    return ratio(fp, fp + tn)


def false_negative_rate(labels: Bools, met: Bools, weights: Floats | None = None) -> Floats:
    """The share of what is met that the judge calls not met."""
    tp, _, fn, _ = counts(labels, met, weights)
    return ratio(fn, tp + fn)


def balanced_accuracy(labels: Bools, met: Bools, weights: Floats | None = None) -> Floats:
    """The mean of the accuracies on what is met and on what is not met."""
    return 1 - (false_positive_rate(labels, met, weights) + false_negative_rate(labels, met, weights)) / 2


def f1(labels: Bools, met: Bools, weights: Floats | None = None) -> Floats:
    tp, fp, fn, _ = counts(labels, met, weights)
    return ratio(2 * tp, 2 * tp + fp + fn)


def kappa(labels: Bools, met: Bools, weights: Floats | None = None) -> Floats:
    """Cohen's kappa: agreement beyond what the two shares of met would give by chance."""
    tp, fp, fn, tn = counts(labels, met, weights)
    total = tp + fp + fn + tn
    by_chance = ratio((tp + fp) * (tp + fn) + (tn + fn) * (tn + fp), total * total)
    return ratio(ratio(tp + tn, total) - by_chance, 1 - by_chance)


def alpha(yes: Floats, no: Floats, weights: Floats | None = None) -> Floats:
    """Krippendorff's alpha for nominal data, from how many say yes and no of each unit. A unit with fewer than two
    words tells nothing and is left out (Krippendorff, Content Analysis, 2004, chapter 11)."""
    weights = weights_or_ones(weights, yes)
    words = yes + no
    paired = words >= 2
    disagreeing = np.where(paired, 2 * yes * no / np.maximum(words - 1, 1), 0.0)
    found = weights @ np.stack([disagreeing, np.where(paired, yes, 0.0), np.where(paired, no, 0.0)], axis=1)
    observed, of_yes, of_no = found[..., 0], found[..., 1], found[..., 2]
    return 1 - ratio((of_yes + of_no - 1) * observed, 2 * of_yes * of_no)


def auroc(labels: Bools, scores: Floats, weights: Floats | None = None) -> Floats:
    """The chance that a criterion that is met has a higher score than one that is not; a tie counts half."""
    weights = weights_or_ones(weights, scores)
    order, starts = _ties(scores)
    # One sum for each distinct score, and what stands below it.
    positive = np.add.reduceat((weights * labels)[..., order], starts, axis=-1)
    negative = np.add.reduceat((weights * ~labels)[..., order], starts, axis=-1)
    below = np.cumsum(negative, axis=-1) - negative
    right = (positive * (below + negative / 2)).sum(axis=-1)
    return ratio(right, positive.sum(axis=-1) * negative.sum(axis=-1))


def brier(labels: Bools, p: Floats, weights: Floats | None = None) -> Floats:
    return mean((p - labels) ** 2, weights)


def log_loss(labels: Bools, p: Floats, weights: Floats | None = None) -> Floats:
    """In nats. A probability of 0 or 1 counts as the next number that has a logarithm."""
    inside = np.clip(p, _SMALLEST, 1 - _SMALLEST)
    return mean(-np.where(labels, np.log(inside), np.log1p(-inside)), weights)


def bin_of(p: Floats, bins: int = BINS) -> NDArray[np.intp]:
    """The bin of each probability among `bins` of equal width; 1 is in the last."""
    return np.minimum((p * bins).astype(np.intp), bins - 1)


def ece(labels: Bools, p: Floats, weights: Floats | None = None, bins: int = BINS) -> Floats:
    """The expected calibration error: how far the mean probability of a bin is from its share of met, by bin size."""
    weights = weights_or_ones(weights, p)
    excess = np.zeros((p.shape[0], bins))
    excess[np.arange(p.shape[0]), bin_of(p, bins)] = p - labels
    return ratio(np.abs(weights @ excess).sum(axis=-1), weights.sum(axis=-1))


def pearson(one: Floats, other: Floats, weights: Floats | None = None) -> Floats:
    weights = weights_or_ones(weights, one)
    # Shifted, so that the sums of squares do not lose digits.
    one, other = one - one.mean(), other - other.mean()
    sums = weights @ np.stack([one, other, one * one, other * other, one * other], axis=1)
    return _correlation(sums, weights.sum(axis=-1))


def spearman(one: Floats, other: Floats, weights: Floats | None = None) -> Floats:
    """Pearson's correlation of the ranks, ties having their mean rank."""
    weights = weights_or_ones(weights, one)
    total = weights.sum(axis=-1)
    # Centred at the mean rank of the weighted sample.
    first = ranks(one, weights) - (total[..., None] + 1) / 2
    second = ranks(other, weights) - (total[..., None] + 1) / 2
    pairs = (first, second, first * first, second * second, first * second)
    return _correlation(np.stack([(weights * pair).sum(axis=-1) for pair in pairs], axis=-1), total)


def ranks(values: Floats, weights: Floats) -> Floats:
    """The rank of each value in the weighted sample, from 1."""
    order, starts = _ties(values)
    sums = np.add.reduceat(weights[..., order], starts, axis=-1)
    middle = np.cumsum(sums, axis=-1) - sums + (sums + 1) / 2
    sizes = np.diff(np.append(starts, values.shape[0]))
    ranked = np.empty(weights.shape)
    ranked[..., order] = np.repeat(middle, sizes, axis=-1)
    return ranked


def _correlation(sums: Floats, total: Floats) -> Floats:
    one, other, one_squared, other_squared, product = (sums[..., place] for place in range(5))
    spread = (one_squared * total - one * one) * (other_squared * total - other * other)
    # What is left of a constant's spread by rounding is no spread.
    floor = 1e-14 * (one_squared * total) * (other_squared * total)
    return ratio(product * total - one * other, np.sqrt(np.where(spread > floor, spread, 0.0)))


def _ties(values: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The order of the values, and in this order the first place of each distinct one."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
