"""Reads the plan file of a cascade of judges.

Guarantees: a file that cannot be read, or that is no plan file of this version, stops the start with a reason.
"""

from pathlib import Path

from service.errors import ConfigurationError
from service.judges.cascade_judgement import Band, CascadePlan, Step
from service.tenancy.regular_file import read_bounded
from trainer_client import wire

_MOST_BYTES = 1024 * 1024


def read_plan_file(file: Path) -> CascadePlan:
    """Raises ConfigurationError."""
    try:
        text = read_bounded(file, _MOST_BYTES)
    except OSError as error:
        raise ConfigurationError(f"`plan` cannot be read: {error}") from None
    if len(text) > _MOST_BYTES:
        raise ConfigurationError(f"`plan`: {file} is larger than {_MOST_BYTES} bytes")
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
