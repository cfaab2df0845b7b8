"""Reads the plan file of a cascade of judges.

Guarantees: a file that cannot be read, or that is no plan file of this version, stops the start with a reason.
"""

from pathlib import Path

from service.api.operator_files.reading import read_named
from service.errors import ConfigurationError
from service.judges.cascade_judgement import Band, CascadePlan, Step
from trainer_client import wire

_MOST_BYTES = 1024 * 1024


def read_plan_file(file: Path) -> CascadePlan:
    """Raises ConfigurationError."""
    text = read_named("plan", file, _MOST_BYTES)
    try:
        found = wire.read_cascade_plan(text)
    except ValueError as error:
        raise ConfigurationError(f"`plan`: {file} is no plan of a cascade: {error}") from None
    steps = tuple(
        Step(
            one.fingerprint,
            one.mode,
            one.layout,
            one.prompt,
            None if one.band is None else Band(one.band.low, one.band.high),
        )
        for one in found.judges
    )
    promise = found.promise
    return CascadePlan(steps, found.data.digest, f"{promise.kind} {promise.level:g}, delta {promise.delta:g}")
