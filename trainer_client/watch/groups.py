"""Calculates what a group of rollouts teaches: its spread, its identical answers, whether length decides its rewards.

GRPO learns from differences within a group. So a figure here is of one group, and correlations are of what is left when
the group's mean is taken off.

Guarantees: a figure that a group has not, such as the spread of one rollout, is NaN.
"""

import numpy as np

from trainer_client.watch.observed import Floats, Ints, Table, ratio, sums

SAME = 1e-9
"""Rewards that differ by less are equal: what is left of rounding is no spread."""


def first_of_groups(table: Table) -> Ints:
    """The step of each group (G,)."""
    step = np.zeros(int(table.group.max(initial=-1)) + 1, np.intp)
    step[table.group[::-1]] = table.step[::-1]
    return step


def without_spread(table: Table) -> Floats:
    """1 for a group whose judged rewards are all equal, 0 for another one (G,)."""
    low, high, count = _extent(table.reward, table.group)
    return np.where(count >= 2, (high - low < SAME).astype(np.float64), np.nan)


def identical(table: Table) -> Floats:
    """Share of a group's rollouts whose answer another one of it has, too (G,)."""
    size = int(table.group.max(initial=-1)) + 1
    count = sums(table.group, np.ones(table.group.shape[0]), size)
    pair = table.group * (int(table.answer.max(initial=0)) + 1) + table.answer
    _, inverse, times = np.unique(pair, return_inverse=True, return_counts=True)
    again = sums(table.group, (times[inverse] > 1).astype(np.float64), size)
    return np.where(count >= 2, again / np.maximum(count, 1), np.nan)


def longer_wins(table: Table) -> Floats:
    """Share of a group's pairs of different length and reward in which the longer answer has the higher reward (G,)."""
    found = np.full(int(table.group.max(initial=-1)) + 1, np.nan)
    for number, rows in enumerate(rows_of(table.group)):
        found[number] = concordance(table.length[rows], table.reward[rows])
    return found


def concordance(one: Floats, other: Floats) -> float:
    """Share of the pairs in which both have the same order, among those that differ in both; NaN where none does."""
    known = np.isfinite(one) & np.isfinite(other)
    one, other = one[known], other[known]
    # Each pair stands twice among all.
    signs = np.sign(np.subtract.outer(one, one)) * np.sign(np.subtract.outer(other, other))
    differing = np.count_nonzero(signs)
    return float(np.count_nonzero(signs > 0) / differing) if differing else float("nan")


def rows_of(group: Ints, size: int = 0) -> list[Ints]:
    """The places of each group's values, by the group's number, of `size` groups or more."""
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=size))
    return np.split(order, ends[:-1]) if ends.size else []


def centred(values: Floats, group: Ints) -> Floats:
    """The values less the mean of their group."""
    known, size = np.isfinite(values), int(group.max(initial=-1)) + 1
    total = sums(group, np.where(known, values, 0.0), size)
    return values - ratio(total, sums(group, known.astype(np.float64), size))[group]


def _extent(values: Floats, group: Ints) -> tuple[Floats, Floats, Floats]:
    """The least and the greatest known value of each group, and how many it has."""
    size = int(group.max(initial=-1)) + 1
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    known = np.isfinite(values)
    np.minimum.at(low, group[known], values[known])
    np.maximum.at(high, group[known], values[known])
    return low, high, sums(group[known], np.ones(np.count_nonzero(known)), size)
