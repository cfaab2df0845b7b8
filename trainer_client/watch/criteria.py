"""Calculates, for each criterion, how often it is met, whether it tells answers apart, and what it goes together with.

    pass rate        share of its verdicts that are met; of one with levels, of those whose level is
    informative      share of its groups in which some rollouts meet it and some do not, or have another share of its
                     points by their level
    discrimination   correlation of its value with the rest of the rubric, item-rest, within groups: the rest is the
                     share of the other criteria's absolute points that the answer does well by, so that a criterion is
                     never compared with itself (Nunnally, "Psychometric Theory", 1978, "corrected item-total")
    length           correlation of being met, or of the level's value, with the answer's length, within groups

Guarantees: a figure without a value is NaN, such as the discrimination of a criterion that all rollouts meet.
"""

from dataclasses import dataclass

import numpy as np

from trainer_client.agreement.statistics import Bools
from trainer_client.watch.groups import centred, concordance, rows_of
from trainer_client.watch.observed import Floats, Ints, Table, counts, ratio, sums


@dataclass(frozen=True, slots=True)
class Figures:
    """A value for each criterion (C,). `first` and `last` are the pass rates in the first and the last fifth of the
    log's rollouts, `missing` the share of the verdicts that are none."""

    verdicts: Ints
    missing: Floats
    pass_rate: Floats
    first: Floats
    last: Floats
    groups: Ints
    informative: Floats
    discrimination: Floats
    length: Floats


def figures(table: Table) -> Figures:
    size = len(table.criteria)
    known = np.isfinite(table.met)
    every, count = counts(table.criterion, size), counts(table.criterion[known], size)
    fifth = max(table.step.shape[0] // 5, 1)
    early, late = table.rollout < fifth, table.rollout >= table.step.shape[0] - fifth
    spread = spread_of_groups(table)
    rest = rest_of(table)
    return Figures(
        verdicts=count,
        missing=ratio(every - count, every),
        pass_rate=_mean(table, known, size),
        first=_mean(table, known & early, size),
        last=_mean(table, known & late, size),
        groups=counts(spread.criterion, size),
        informative=ratio(sums(spread.criterion, spread.mixed, size), counts(spread.criterion, size)),
        discrimination=_correlation(table, table.value, rest, size),
        length=_correlation(table, table.share, table.length[table.rollout], size),
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """Of each criterion in each group with two or more verdicts on it (P,), in the order of the groups: whether they
    differ in the share of its points, and the mean share: 1 where all meet it in full, 0 where none does in part."""

    criterion: Ints
    group: Ints
    mixed: Floats
    share: Floats


def least_informative(found: Figures) -> list[int]:
    """The criteria that were seen in groups, those first that teach least; of equal ones that in more groups."""
    order = np.lexsort((-found.groups, found.informative))
    return [int(place) for place in order if found.groups[place] > 0]


def spread_of_groups(table: Table) -> Spread:
    known = np.isfinite(table.share)
    criterion, group, shares = table.criterion[known], table.group[table.rollout[known]], table.share[known]
    pair, inverse = np.unique(group * len(table.criteria) + criterion, return_inverse=True)
    count, total = counts(inverse, pair.shape[0]), sums(inverse, shares, pair.shape[0])
    first = np.empty(pair.shape[0])
    first[inverse] = shares  # one of them, with which the others are compared
    others = sums(inverse, (shares != first[inverse]).astype(np.float64), pair.shape[0])
    enough = count >= 2
    return Spread(
        criterion=pair[enough] % max(len(table.criteria), 1),
        group=pair[enough] // max(len(table.criteria), 1),
        mixed=(others[enough] > 0).astype(np.float64),
        share=total[enough] / count[enough],
    )


def rest_of(table: Table) -> Floats:
    """For each verdict the share of the other criteria's points that the answer does well by (V,); NaN where no other
    criterion that counts was judged."""
    value = table.value
    weight = np.nan_to_num(np.abs(table.points))  # without a sign there is no value, and nothing is weighed
    known, rollouts = np.isfinite(value), table.step.shape[0]
    good = np.where(known, value * weight, 0.0)
    judged = np.where(known, weight, 0.0)
    gained = sums(table.rollout, good, rollouts)[table.rollout] - good
    possible = sums(table.rollout, judged, rollouts)[table.rollout] - judged
    return ratio(gained, np.where(possible > 1e-12, possible, 0.0))


def disagreement_with_rest(value: Floats, rest: Floats, group: Ints) -> tuple[Floats, Ints]:
    """Of one criterion's verdicts, for each group in which the criterion and the rest differ: the share of pairs of
    rollouts that they order the other way round, and the group."""
    names, inverse = np.unique(group, return_inverse=True)
    found = np.array([1 - concordance(value[rows], rest[rows]) for rows in rows_of(inverse)])
    there = np.isfinite(found) if found.size else np.empty(0, bool)
    return found[there], names[there]


def _mean(table: Table, chosen: Bools, size: int) -> Floats:
    own = table.criterion[chosen]
    return ratio(sums(own, table.met[chosen], size), counts(own, size))


def _correlation(table: Table, one: Floats, other: Floats, size: int) -> Floats:
    """Pearson's correlation within the groups of each criterion (C,)."""
    known = np.isfinite(one) & np.isfinite(other)
    criterion = table.criterion[known]
    pair = table.group[table.rollout[known]] * max(size, 1) + criterion
    _, inverse = np.unique(pair, return_inverse=True)
    first, second = centred(one[known], inverse), centred(other[known], inverse)
    both, one_squared, other_squared = (
        sums(criterion, product, size) for product in (first * second, first * first, second * second)
    )
    spread = one_squared * other_squared
    return ratio(both, np.sqrt(np.where(spread > 1e-18, spread, 0.0)))
