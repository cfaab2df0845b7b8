"""Computes what the best of N samples is worth, for every N up to the number of samples. Pure.

Of n samples of a prompt, N are drawn without replacement and the one that the judge puts first is kept. What is
computed is the mean over all such draws, without drawing: the sample of rank i among n is the best of N with the chance
C(i-1, N-1) / C(n, N), which makes the estimate unbiased. Samples that the judge puts level are as likely as each other.

Guarantees: there is no value for more than n samples. Samples without a score are left out beforehand.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer_client.agreement.statistics import Floats

SIZES = tuple(2**power for power in range(12))
"""1, 2, 4 … 2,048, as in RuscaRL's Fig. 3a."""


def expected_selected(
    judged: Sequence[float], truth: Sequence[float], sizes: Sequence[int] = SIZES
) -> list[float | None]:
    """The expected truth of the sample with the highest `judged` score among N, for each size N; None where there are
    fewer samples. With `truth` as `judged` the selection is an oracle's."""
    score, value = np.asarray(judged, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if score.shape != value.shape:
        raise ValueError("as many judged scores as truths")
    if not score.size:
        return [None] * len(sizes)
    levels, level_of, counts = np.unique(score, return_inverse=True, return_counts=True)
    means = np.bincount(level_of, weights=value, minlength=len(levels)) / counts
    up_to = np.cumsum(counts)
    return [None if size > len(score) else float(_chances(up_to, size) @ means) for size in sizes]


def _chances(up_to: NDArray[np.intp], size: int) -> Floats:
    """The chance of each level to be the highest of `size` draws: C(up to it, N) / C(n, N), less that of those below.

    C(k, N) / C(n, N) is a product of N ratios (k - j) / (n - j) below 1, taken as a sum of logarithms."""
    total = int(up_to[-1])
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])  # of the factorials 0! to n!
    inside = up_to >= size
    reached = np.zeros(len(up_to))
    k = up_to[inside]
    reached[inside] = np.exp(logs[k] - logs[k - size] + logs[total - size] - logs[total])
    return np.diff(reached, prepend=0.0)
