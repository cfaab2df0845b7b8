"""The statistics beside scikit-learn's and scipy's, on random data with weights and ties."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from trainer_client.agreement import statistics
from trainer_client.agreement.statistics import Bools, Floats

TRIALS = 200
CLOSE = 1e-9


def _sample(draw: np.random.Generator) -> tuple[Bools, Bools, Floats, Floats]:
    """Labels, verdicts, probabilities with many ties, and whole weights of which some are zero."""
    n = int(draw.integers(10, 200))
    labels = draw.random(n) < draw.uniform(0.1, 0.9)
    labels[:4] = [True, False, True, False]
    p = np.clip(labels * draw.uniform(-0.4, 0.4) + draw.random(n), 0, 1)
    p = np.round(p, int(draw.integers(1, 4)))
    weights = draw.integers(0, 4, n).astype(float)
    weights[:4] = 1
    return labels, p >= 0.5, p, weights


HARD: dict[str, tuple[Callable[..., Floats], Callable[..., float]]] = {
    "accuracy": (statistics.accuracy, metrics.accuracy_score),
    "balanced accuracy": (statistics.balanced_accuracy, metrics.balanced_accuracy_score),
    "f1": (statistics.f1, metrics.f1_score),
    "kappa": (statistics.kappa, metrics.cohen_kappa_score),
    "false negatives": (statistics.false_negative_rate, lambda *a, **k: 1 - metrics.recall_score(*a, **k)),
    "false positives": (statistics.false_positive_rate, lambda *a, **k: 1 - metrics.recall_score(*a, pos_label=0, **k)),
}
SOFT: dict[str, tuple[Callable[..., Floats], Callable[..., float]]] = {
    "auroc": (statistics.auroc, metrics.roc_auc_score),
    "brier": (statistics.brier, metrics.brier_score_loss),
    "log loss": (statistics.log_loss, metrics.log_loss),
}


@pytest.mark.parametrize("name", [*HARD, *SOFT])
def test_200_random_samples_are_as_scikit_learn_says(name: str) -> None:
    ours, theirs = {**HARD, **SOFT}[name]
    draw = np.random.default_rng(1)
    compared = 0
    for _ in range(TRIALS):
        labels, met, p, weights = _sample(draw)
        given = met if name in HARD else p
        if name in HARD and len(set(given[weights > 0])) < 2:
            continue
        compared += 1
        assert abs(float(ours(labels, given)) - theirs(labels, given)) < CLOSE
        assert abs(float(ours(labels, given, weights)) - theirs(labels, given, sample_weight=weights)) < CLOSE
    assert compared > TRIALS // 2


@pytest.mark.parametrize(
    ("ours", "theirs"), [(statistics.pearson, stats.pearsonr), (statistics.spearman, stats.spearmanr)]
)
def test_200_random_correlations_are_as_scipy_says(ours: Callable[..., Floats], theirs: Any) -> None:
    draw = np.random.default_rng(2)
    for _ in range(TRIALS):
        n = int(draw.integers(5, 100))
        one = np.round(draw.normal(size=n), 1)
        other = np.round(one * draw.normal() + draw.normal(size=n), 1)
        times = draw.integers(0, 4, n)
        times[:3] = 1
        assert abs(float(ours(one, other)) - theirs(one, other)[0]) < CLOSE
        repeated = theirs(np.repeat(one, times), np.repeat(other, times))[0]
        assert abs(float(ours(one, other, times.astype(float))) - repeated) < CLOSE


def test_ece_is_that_of_a_loop() -> None:
    draw = np.random.default_rng(3)
    for _ in range(TRIALS):
        labels, _, p, weights = _sample(draw)
        expected = 0.0
        for low in range(10):
            inside = (np.minimum(np.floor(p * 10), 9) == low) & (weights > 0)
            if inside.any():
                gap = np.average(p[inside], weights=weights[inside]) - np.average(
                    labels[inside], weights=weights[inside]
                )
                expected += weights[inside].sum() / weights.sum() * abs(gap)
        assert abs(float(statistics.ece(labels, p, weights)) - expected) < CLOSE


def test_alpha_is_krippendorffs_from_its_coincidences() -> None:
    """By the coincidence matrix, value by value, and the worked example of his chapter 11 with two values."""
    draw = np.random.default_rng(4)
    for _ in range(TRIALS):
        units = [draw.integers(0, 2, int(draw.integers(0, 5))).tolist() for _ in range(30)]
        table = np.zeros((2, 2))
        for unit in units:
            for i, one in enumerate(unit):
                for j, other in enumerate(unit):
                    if i != j:
                        table[one, other] += 1 / (len(unit) - 1)
        totals = table.sum(axis=1)
        expected = 1 - (totals.sum() - 1) * (table[0, 1] + table[1, 0]) / (2 * totals[0] * totals[1])
        yes, no = (np.array([float(unit.count(value)) for unit in units]) for value in (1, 0))
        assert abs(float(statistics.alpha(yes, no)) - expected) < CLOSE
    # Two observers, ten articles, 0 and 1: alpha = 0.095 (Krippendorff, "Computing Krippendorff's alpha", 2011, A).
    one = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1, 0])
    other = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    assert round(float(statistics.alpha((one + other).astype(float), (2 - one - other).astype(float))), 3) == 0.095


def test_many_weightings_at_once_are_each_alone() -> None:
    draw = np.random.default_rng(5)
    labels, met, p, _ = _sample(draw)
    weights = draw.integers(0, 4, (50, labels.size)).astype(float)
    cases: list[tuple[Callable[..., Floats], Any]] = [
        *((ours, met) for ours, _ in HARD.values()),
        *((ours, p) for ours, _ in SOFT.values()),
        (statistics.ece, p),
    ]
    for statistic, given in cases:
        together = statistic(labels, given, weights)
        alone = np.array([statistic(labels, given, one) for one in weights])
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)
    other: Floats = draw.random(labels.size)
    for correlation in (statistics.pearson, statistics.spearman):
        np.testing.assert_allclose(
            correlation(p, other, weights), [correlation(p, other, one) for one in weights], rtol=0, atol=1e-9
        )


def test_what_has_no_value_is_nan() -> None:
    yes, p = np.array([True, True]), np.array([0.1, 0.2])
    rising: Floats = np.arange(9, dtype=np.float64)
    assert np.isnan(statistics.auroc(yes, p))
    assert np.isnan(statistics.false_positive_rate(yes, p > 0.5))
    assert np.isnan(statistics.kappa(yes, yes))
    assert np.isnan(statistics.pearson(np.ones(9), rising)) and np.isnan(statistics.spearman(np.full(9, 0.1), rising))
    assert np.isnan(statistics.alpha(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    assert np.isfinite(statistics.log_loss(np.array([True, False]), np.array([0.0, 1.0])))
