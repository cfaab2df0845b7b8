"""Calculates the self-internalisation gap: how far a policy without the rubric is from the same policy with it.

For answers that the policy writes with the rubric in its prompt, the gap is the mean of log p(answer | prompt) -
log p(answer | prompt, rubric), each a mean over the answer's tokens (arXiv 2605.12474, 3.3). It is at most 0 in
expectation, and rises to 0 as the policy comes to do without the rubric what it does with it. It needs no judge. In the
paper's runs its maximum lies where a panel's reward has its own, while the training judge's reward went on rising.

Guarantees: two checkpoints are compared on the same prompts. Prompts are the units: answers to one hang together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from trainer_client.agreement.bootstrap import Figure, figures
from trainer_client.agreement.statistics import mean
from trainer_client.watch.observed import Floats


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The gap of each prompt (P,) at a step, the mean over its answers."""

    step: int
    gaps: Floats


@dataclass(frozen=True, slots=True)
class Trend:
    """The gap of each checkpoint with its interval, the step at which it is greatest, and the step of the first
    checkpoint at which it has fallen from there, if it has, with the p-value, corrected for all pairs."""

    steps: tuple[int, ...]
    gaps: tuple[Figure, ...]
    best: int
    fallen: int | None
    p: float


def gap(prompt: Floats, conditioned: Floats) -> Floats:
    """Mean log-probabilities of a token, (P, K) answers without and with the rubric, as the gap of each prompt (P,)."""
    found: Floats = (prompt - conditioned).mean(axis=1)
    return found


def trend(checkpoints: Sequence[Checkpoint], chance: float) -> Trend:
    """Compares the checkpoints, in the order of their steps. A fall is tested from each to each later one by the signs
    of the prompts' differences, one-sided, with Bonferroni's correction for the number of pairs."""
    means = [float(one.gaps.mean()) for one in checkpoints]
    best = int(np.argmax(means))
    pairs = max(comb(len(checkpoints), 2), 1)
    fallen, smallest = None, 1.0
    for later in range(best + 1, len(checkpoints)):
        p = min(falls(checkpoints[best].gaps, checkpoints[later].gaps) * pairs, 1.0)
        smallest = min(smallest, p)
        if fallen is None and p <= chance:
            fallen = checkpoints[later].step
    intervals = tuple(_figure(one.gaps) for one in checkpoints)
    return Trend(tuple(one.step for one in checkpoints), intervals, checkpoints[best].step, fallen, smallest)


def falls(before: Floats, after: Floats) -> float:
    """The p-value of the sign test that a prompt's gap is as often higher as lower, against that it falls."""
    lower, higher = int(np.count_nonzero(after < before)), int(np.count_nonzero(after > before))
    trials = lower + higher
    return sum(comb(trials, k) for k in range(lower, trials + 1)) / 2**trials if trials else 1.0


def _figure(values: Floats) -> Figure:
    return figures({"gap": lambda weights: mean(values, weights)}, np.arange(values.shape[0]))["gap"]
