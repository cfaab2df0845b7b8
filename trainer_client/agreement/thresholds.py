"""Holds judges to limits, such as `accuracy` at least 0.8, so that a run of a CI can fail.

Guarantees: a figure that has no value is within no limit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainer_client.agreement.criteria import HIGHER_IS_BETTER, LOWER_IS_BETTER
from trainer_client.agreement.measured import Measured
from trainer_client.agreement.names import LEVELS, REWARDS

KNOWN = (*HIGHER_IS_BETTER, *LOWER_IS_BETTER, *LEVELS, *REWARDS)


@dataclass(frozen=True, slots=True)
class Limit:
    """`at_least` says on which side of `value` the metric is to be."""

    metric: str
    value: float
    at_least: bool


def beyond(measured: Measured, limits: Sequence[Limit]) -> Iterator[str]:
    """A sentence for each judge and limit that it does not keep."""
    for one in measured.judges:
        for limit in limits:
            graded = {} if one.levels is None else one.levels.figures
            figure = {**one.figures, **graded, **one.rewards}.get(limit.metric)
            value = None if figure is None else figure.value
            word = "at least" if limit.at_least else "at most"
            if value is None:
                yield f"{one.name}: {limit.metric} has no value, and {word} {limit.value:g} is asked"
            elif value < limit.value if limit.at_least else value > limit.value:
                yield f"{one.name}: {limit.metric} is {value:.4f}, and {word} {limit.value:g} is asked"
