"""Says which level a judge's probabilities give a graded criterion, and what it is worth. Pure.

The service decides by it, and the client what a log holds the probabilities of: this is its one place, and it imports
nothing of either. `values` are the shares of the points that the levels or choices earn, in order.

A criterion with two options is decided by the threshold, as one that is met or not: the option of the larger value is
taken where its probability is at or above the threshold. With more options, or two of one value, the most likely one is
taken, of equal ones that of the larger value, then the first. Met is a criterion whose option's value is above 0 and at
or above the threshold.

Guarantees: the expected value lies within the values, and P(met) within 0 to 1, whatever rounding does.
"""

import math
from collections.abc import Sequence


def is_met(value: float, threshold: float) -> bool:
    return value > 0 and value >= threshold


def chosen_level(p_levels: Sequence[float], values: Sequence[float], threshold: float) -> int:
    """The place of the option that is taken."""
    if len(values) == 2 and values[0] != values[1]:
        low, high = (0, 1) if values[0] < values[1] else (1, 0)
        return high if p_levels[high] >= threshold else low
    return max(range(len(values)), key=lambda place: (p_levels[place], values[place], -place))


def expected_value(p_levels: Sequence[float], values: Sequence[float]) -> float:
    """The sum of each value times its probability."""
    mean = math.fsum(p * value for p, value in zip(p_levels, values, strict=True))
    return min(max(mean, min(values)), max(values))


def p_met(p_levels: Sequence[float], values: Sequence[float], threshold: float) -> float:
    """The probability of all options that are met."""
    return min(math.fsum(p for p, value in zip(p_levels, values, strict=True) if is_met(value, threshold)), 1.0)
