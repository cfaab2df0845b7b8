"""A calibration of levels turns their probabilities as a judge gave them into those that held on labelled rows. Pure.

Log-probabilities are divided by a temperature, which says how sure the judge may be, and each place may have a bias,
which takes off what the judge gives to a letter whatever the response says.

Guarantees: the result is a distribution over the same options, and the same numbers give the same result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainer_client.level_choice import calibrated_levels


@dataclass(frozen=True, slots=True)
class LevelCalibration:
    """Of the judge whose fingerprint for reading levels is `judge`. `biases` are by the number of options."""

    name: str
    judge: str
    temperature: float
    biases: Mapping[int, Sequence[float]] = field(default_factory=dict)

    def __call__(self, p_levels: Sequence[float]) -> tuple[float, ...]:
        return calibrated_levels(p_levels, self.temperature, self.biases)
