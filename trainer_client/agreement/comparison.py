"""Compares two judges on the same labels: how often they say the same, and which is nearer to the labels.

Guarantees: both are compared on the criteria that both have judged, and differences are drawn in pairs.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import RESAMPLES, Bounded, Figure, Statistic, figures, share
from trainer_client.agreement.criteria import Verdicts
from trainer_client.agreement.statistics import Floats


def comparison_figures(
    one: Verdicts, other: Verdicts, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Figure]:
    """`same`, `kappa`, `alpha` and `pearson_p` are between the judges; a name that ends in `_more` is the first one's
    figure less the second one's, on the same labels."""
    common = np.isin(one.place, other.place[other.judged]) & one.judged
    one, other = one.where(common), other.where(np.isin(other.place, one.place[common]))
    yes: Floats = one.met.astype(np.float64) + other.met.astype(np.float64)
    between: dict[str, Statistic] = {
        "same": share(one.met == other.met),
        "kappa": partial(statistics.kappa, one.met, other.met),
        "alpha": partial(statistics.alpha, yes, 2 - yes),
        "accuracy_more": Bounded(_less(partial(statistics.accuracy, one.labels), one.met, other.met), least=-1.0),
        "balanced_accuracy_more": _less(partial(statistics.balanced_accuracy, one.labels), one.met, other.met),
    }
    found = figures(between, one.groups, resamples=resamples, seed=seed)
    probable = np.isfinite(one.p) & np.isfinite(other.p)
    one, other = one.where(probable), other.where(probable)
    soft: dict[str, Statistic] = {
        "pearson_p": partial(statistics.pearson, one.p, other.p),
        "auroc_more": _less(partial(statistics.auroc, one.labels), one.p, other.p),
        "log_loss_more": _less(partial(statistics.log_loss, one.labels), one.p, other.p),
    }
    return found | figures(soft, one.groups, resamples=resamples, seed=seed)


def _less(statistic: Callable[..., Floats], one: object, other: object) -> Statistic:
    return lambda weights: statistic(one, weights) - statistic(other, weights)
