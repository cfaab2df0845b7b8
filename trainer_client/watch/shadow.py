"""Compares the judge that gives the rewards with others who judge a sample of the same rollouts, and finds overclaims.

    gap                of a rollout: the share of its absolute points that the judge credits, less the share that the
                       others credit on average, over the criteria that all have judged; from -1 to 1
    exploitation rate  of an evaluation: of the criteria that the judge credits now and did not credit at the evaluation
                       before, the share, by absolute points, that every other judge rejects (arXiv 2605.12474, 3.1)
    overclaim          of a rollout: the share of what the judge credits that every other judge rejects, by absolute
                       points. A policy that learns honestly is credited more, and its gap grows where the others are
                       stricter; this share does not
    onset              the step at which the gap or the overclaim has become larger than at the start (after arXiv
                       2606.04923, which compares a biased judge with its reference)

To credit a criterion is to say that it is met where its points are positive, and that it is not met where it is a
fault. One with levels is credited by the share that its level earns: newly credited, and counted among a criterion's
overclaims, where it earns all, and rejected where it earns nothing.

Guarantees: a criterion that one of the judges has not judged counts in nothing. A run whose gap has been large from its
start is not said to have begun a shortcut: the gap itself shows it.
"""

from dataclasses import dataclass

import numpy as np

from trainer_client.watch.evidence import Evidence, against, upper_bound
from trainer_client.watch.observed import Floats, Ints, Named, counts, ratio, sums

BASELINE = 128
"""Groups at the start, rounded up to whole steps, that say what is honest."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Verdicts on the sampled rollouts (V,): rollout, criterion, absolute points, the judge's credit (0, 1 or a share
    by level), and the mean credit of the others. Rollouts (R,): step, group; `slot` numbers prompt and place in its
    group, so that rollouts of different steps with one slot answer the same prompt."""

    step: Ints
    group: Ints
    slot: Ints
    rollout: Ints
    criterion: Ints
    weight: Floats
    credit: Floats
    others: Floats
    criteria: tuple[Named, ...]

    @property
    def rejected(self) -> Floats:
        """1 where every other judge rejects the criterion (V,)."""
        found: Floats = (self.others == 0).astype(np.float64)
        return found


def gaps(sample: Sample) -> Floats:
    """The gap of each rollout (R,); NaN where no criterion that counts was judged by all."""
    size = sample.step.shape[0]
    over = sums(sample.rollout, sample.weight * (sample.credit - sample.others), size)
    return ratio(over, sums(sample.rollout, sample.weight, size))


def overclaim(sample: Sample) -> Floats:
    """The overclaim of each rollout (R,); NaN where nothing is credited."""
    size = sample.step.shape[0]
    credited = sample.weight * sample.credit
    return ratio(sums(sample.rollout, credited * sample.rejected, size), sums(sample.rollout, credited, size))


def by_group(values: Floats, group: Ints, step: Ints) -> tuple[Floats, Ints]:
    """The mean of each group's known values and its step, in the order of the groups: rollouts of one prompt are no
    independent values."""
    known = np.isfinite(values)
    names, inverse = np.unique(group[known], return_inverse=True)
    total, count = sums(inverse, values[known], names.shape[0]), counts(inverse, names.shape[0])
    steps = np.zeros(names.shape[0], np.intp)
    steps[inverse] = step[known]
    return ratio(total, count), steps


@dataclass(frozen=True, slots=True)
class Onset:
    """Evidence that a share has grown: its mean at the start, a bound on that with the tolerated margin added, and the
    evidence of the steps after the start. Without a limit there are too few groups."""

    baseline: float | None
    limit: float | None
    evidence: Evidence | None


def onset(values: Floats, steps: Ints, *, margin: float, chance: float, baseline: int = BASELINE) -> Onset:
    """Tests values in 0..1, means of groups, in the order of their steps. Half of the chance is the bound's on the mean
    at the start, the other half is for the alarm."""
    if values.shape[0] <= baseline:
        return Onset(None, None, None)
    first = steps <= steps[baseline - 1]
    limit = upper_bound(values[first], chance / 2) + margin
    start = float(values[first].mean())
    if limit >= 1:
        return Onset(start, None, None)
    return Onset(start, limit, against(values[~first], steps[~first], limit))


@dataclass(frozen=True, slots=True)
class Exploitation:
    """By step: the weight of newly credited criteria, and of those that every other judge rejects."""

    step: Ints
    newly: Floats
    rejected: Floats

    @property
    def rate(self) -> Floats:
        """The exploitation rate of each step; NaN where nothing is newly credited."""
        return ratio(self.rejected, self.newly)


def exploitation(sample: Sample) -> Exploitation:
    """Compares each rollout with the one before it in its slot, criterion by criterion."""
    if not sample.rollout.size:
        return Exploitation(np.empty(0, np.intp), np.empty(0), np.empty(0))
    order = np.lexsort((sample.step[sample.rollout], sample.criterion, sample.slot[sample.rollout]))
    slot, criterion = sample.slot[sample.rollout][order], sample.criterion[order]
    step, credit = sample.step[sample.rollout][order], sample.credit[order]
    again = np.append(False, (slot[1:] == slot[:-1]) & (criterion[1:] == criterion[:-1]) & (step[1:] > step[:-1]))
    newly = again & (credit == 1) & (np.append(1.0, credit[:-1]) == 0)
    weight = sample.weight[order] * newly
    steps, inverse = np.unique(step[again], return_inverse=True)
    return Exploitation(
        steps,
        sums(inverse, weight[again], steps.shape[0]),
        sums(inverse, (weight * sample.rejected[order])[again], steps.shape[0]),
    )


@dataclass(frozen=True, slots=True)
class Overclaims:
    """By criterion (C,): credited verdicts, and the share of them that every other judge rejects."""

    credited: Ints
    share: Floats


def overclaims(sample: Sample) -> Overclaims:
    criteria = len(sample.criteria)
    credited = sample.credit == 1
    count = counts(sample.criterion[credited], criteria)
    return Overclaims(count, ratio(sums(sample.criterion[credited], sample.rejected[credited], criteria), count))
