"""A calibration of levels turns their probabilities as a judge gave them into those that held on labelled rows. Pure.

Log-probabilities are divided by a temperature, which says how sure the judge may be, and each place may have a bias,
which takes off what the judge gives to a letter whatever the response says.

Guarantees: the result is a distribution over the same options, and the same numbers give the same result.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NEAREST = 1e-9
"""A probability counts as no nearer to 0 than this, so that it has a logarithm. The client's fit has the same bound."""


@dataclass(frozen=True, slots=True)
class LevelCalibration:
    """Of the judge whose fingerprint for reading levels is `judge`. `biases` are by the number of options."""

    name: str
    judge: str
    temperature: float
    biases: Mapping[int, Sequence[float]] = field(default_factory=dict)

    def __call__(self, p_levels: Sequence[float]) -> tuple[float, ...]:
        bias = self.biases.get(len(p_levels), (0.0,) * len(p_levels))
        if self.temperature == 1.0 and not any(bias):
            return tuple(p_levels)
        at = [math.log(max(p, NEAREST)) / self.temperature + b for p, b in zip(p_levels, bias, strict=True)]
        highest = max(at)
        weights = [math.exp(one - highest) for one in at]
        total = math.fsum(weights)
        return tuple(weight / total for weight in weights)
