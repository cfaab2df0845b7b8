"""Says which level a judge's probabilities give a graded criterion, and what it is worth. Pure.

The service decides by it, and the client what a log holds the probabilities of: this is its one place, and it imports
nothing of either. `values` are the shares of the points that the levels or choices earn, in order.

A criterion with two options is decided by the threshold, as one that is met or not: the option of the larger value is
taken where its probability is at or above the threshold. With more options, or two of one value, the most likely one is
taken, of equal ones that of the larger value, then the first. Met is a criterion whose option's value is above 0 and at
or above the threshold.

A calibration divides log-probabilities by a temperature, which says how sure the judge may be, and gives each place a
bias, which takes off what the judge gives to a letter whatever the response says.

Guarantees: a calibrated distribution is one over the same options. The expected value lies within the values, and
P(met) within 0 to 1, whatever rounding does.
"""

import math
from collections.abc import Mapping, Sequence

NEAREST = 1e-9
"""A probability counts as no nearer to 0 than this, so that it has a logarithm. The fit of a calibration has the same
bound."""


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


def calibrated_levels(
    p_levels: Sequence[float], temperature: float, biases: Mapping[int, Sequence[float]]
) -> tuple[float, ...]:
    """The probabilities by a calibration, whose biases are by the number of options."""
    bias = biases.get(len(p_levels), (0.0,) * len(p_levels))
    if temperature == 1.0 and not any(bias):
        return tuple(p_levels)
    at = [math.log(max(p, NEAREST)) / temperature + b for p, b in zip(p_levels, bias, strict=True)]
    highest = max(at)
    weights = [math.exp(one - highest) for one in at]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)
