"""Turns labelled levels and a judge's into figures: how often it takes the labelled one, how far off it is, and which.

Guarantees: a criterion without a labelled level is in no figure. One without a level of the judge is counted as not
judged, and in no other figure.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import RESAMPLES, Figure, Statistic, figures, numbered, share
from trainer_client.agreement.statistics import Floats, ratio, weights_or_ones
from trainer_client.labels import Judged, JudgedCriterion, Labels

_LEAST_P = 1e-6
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Of all criteria with so many levels, or choices: `counts[i][j]` were labelled i and judged j."""

    ordered: bool
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class LevelAgreement:
    """Figures by name, and what was taken for what."""

    figures: Mapping[str, Figure]
    confusions: Sequence[Confusion]


def level_agreement(labels: Labels, judged: Judged, *, resamples: int = RESAMPLES) -> LevelAgreement | None:
    """None where no label is a level."""
    labelled = [one for one in judged.criteria if one.level_label is not None]
    if not labelled:
        return None
    groups = numbered([labels.items[one.item].group for one in labelled])
    has = np.array([one.level is not None for one in labelled], dtype=np.bool_)
    found = figures({"levels_not_judged": share(~has)}, groups, resamples=resamples)
    known = [one for one in labelled if one.level is not None]
    found |= figures(_figures(known), groups[has], resamples=resamples)
    in_order = np.array([one.ordered for one in known], dtype=np.bool_)
    ordered = [one for one in known if one.ordered]
    found |= figures(_ordered_figures(ordered), groups[has][in_order], resamples=resamples)
    return LevelAgreement(found, _confusions(known))


def _figures(known: Sequence[JudgedCriterion]) -> dict[str, Statistic]:
    label, level, _ = _places(known)
    return {
        "levels_exact": share(label == level),
        "levels_log_loss": partial(statistics.mean, np.array([_loss(one) for one in known], dtype=np.float64)),
    }


def _ordered_figures(known: Sequence[JudgedCriterion]) -> dict[str, Statistic]:
    label, level, options = _places(known)
    return {
        "levels_within_one": share(np.abs(label - level) <= 1),
        "levels_kappa": partial(weighted_kappa, label, level, options),
    }


def _places(known: Sequence[JudgedCriterion]) -> tuple[Places, Places, Places]:
    """Labelled level, judged level, and how many there are."""
    rows = [(one.level_label, one.level, len(one.values)) for one in known]
    label, level, options = np.array(rows, dtype=np.intp).reshape(-1, 3).T
    return label, level, options


def weighted_kappa(label: Places, level: Places, options: Places, weights: Floats | None = None) -> Floats:
    """Cohen's kappa with quadratic weights: 1 less the mean squared distance, in shares of the scale, over that of
    labels and levels that are drawn apart from each other among criteria with as many levels."""
    weights = weights_or_ones(weights, label)
    one, other = (np.asarray(places / (options - 1), dtype=np.float64) for places in (label, level))
    observed = weights @ ((one - other) ** 2)
    apart = np.zeros(weights.shape[:-1])
    for size in np.unique(options):
        own = weights * (options == size)
        total = own.sum(axis=-1)
        both = own @ np.stack([one, other, one**2 + other**2], axis=1)
        apart += both[..., 2] - 2 * np.where(total > 0, both[..., 0] * both[..., 1] / np.maximum(total, 1e-300), 0.0)
    return 1 - ratio(observed, np.where(apart > 1e-12, apart, 0.0))


def _loss(one: JudgedCriterion) -> float:
    """In nats, of the labelled level; NaN where the judge gave no probabilities."""
    if one.p_levels is None or one.level_label is None:
        return float("nan")
    return float(-np.log(max(one.p_levels[one.level_label], _LEAST_P)))


def _confusions(known: Sequence[JudgedCriterion]) -> list[Confusion]:
    places = zip(*(one.tolist() for one in _places(known)), strict=True)
    cells = Counter((one.ordered, size, i, j) for one, (i, j, size) in zip(known, places, strict=True))
    kinds = sorted({(not ordered, size) for ordered, size, _, _ in cells})
    return [
        Confusion(
            not nominal,
            tuple(tuple(cells[not nominal, size, i, j] for j in range(size)) for i in range(size)),
        )
        for nominal, size in kinds
    ]
