"""Computes HealthBench's numbers as OpenAI's simple-evals defines them, from verdicts. Pure.

Of one response: the points of the criteria that are met over the sum of the positive points, for all criteria, and for
those of each tag. A criterion with levels, which simple-evals does not have, earns the share of its points that its
level is worth. Of many: the mean, clipped to 0..1 after averaging, and the standard deviation of the clipped means of
1,000 resamples (`_compute_clipped_stats`). There is no score where there are no positive points.

Guarantees: a response of which a criterion has no verdict has no score, and is in no mean. A tag is a part of its own.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
OVERALL = "overall_score"
_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class Graded:
    """A criterion with its points and tags (`axis:accuracy`), and the share of them that it earns: 1 where it is met, 0
    where not, the value of its level where it has levels; None where nobody knows."""

    points: float
    share: float | None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clipped:
    """A mean of `n` scores, clipped to 0..1, with its bootstrap standard error; `mean` before clipping as `unclipped`.
    `lowest` is the score of the worst response."""

    mean: float
    error: float
    n: int
    unclipped: float
    lowest: float


def score(criteria: Iterable[Graded]) -> float | None:
    """The score of one response (`calculate_score`)."""
    earned = possible = 0.0
    for one in criteria:
        if one.share is None:
            return None
        possible += max(one.points, 0.0)
        earned += one.points * one.share
    return earned / possible if possible > 0 else None


def metrics(criteria: Sequence[Graded], example_tags: Sequence[str] = ()) -> dict[str, float]:
    """The scores of one response by name: overall, under each tag of the example (`theme:hedging`), which has the
    overall one, and under each tag of its criteria, which has that of these criteria alone."""
    overall = score(criteria)
    found = {} if overall is None else {OVERALL: overall, **dict.fromkeys(example_tags, overall)}
    tagged: dict[str, list[Graded]] = defaultdict(list)
    for one in criteria:
        for tag in one.tags:
            tagged[tag].append(one)
    parts = {tag: score(some) for tag, some in tagged.items()}
    return {**found, **{tag: part for tag, part in parts.items() if part is not None}}


def clipped(values: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0) -> Clipped | None:
    """The clipped mean of at least one value; None for none."""
    if not values:
        return None
    scores = np.asarray(values, dtype=np.float64)
    unclipped = float(scores.mean())
    return Clipped(
        mean=min(max(unclipped, 0.0), 1.0),
        error=_bootstrap_error(scores, resamples, seed),
        n=len(values),
        unclipped=unclipped,
        lowest=float(scores.min()),
    )


def summarised(responses: Iterable[Mapping[str, float]], *, seed: int = 0) -> dict[str, Clipped]:
    """The clipped means of all responses' metrics, by name."""
    values: dict[str, list[float]] = defaultdict(list)
    for response in responses:
        for name, value in response.items():
            values[name].append(value)
    found = {name: clipped(some, seed=seed) for name, some in values.items()}
    return {name: one for name, one in found.items() if one is not None}


def _bootstrap_error(scores: "np.ndarray[tuple[int], np.dtype[np.float64]]", resamples: int, seed: int) -> float:
    """The population's standard deviation of the clipped means of resamples."""
    draw = np.random.default_rng(seed)
    rows = max(_CELLS // len(scores), 1)
    means = [
        np.clip(scores[draw.integers(0, len(scores), (min(rows, resamples - first), len(scores)))].mean(axis=1), 0, 1)
        for first in range(0, resamples, rows)
    ]
    return float(np.concatenate(means).std())
