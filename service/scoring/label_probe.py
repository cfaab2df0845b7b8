"""Finds out at the start in which prompts and layouts the judge answers with its labels.

Guarantees: the default prompt answered a canary, or the log says why not and it is not served; without an answer in any
prompt or layout of mode `verdict` nothing starts.
"""

import logging

from service.errors import ConfigurationError, RubricdError, Unparseable
from service.modes.served_modes import JudgingModes, Way
from service.scheduling import Scheduler
from service.scoring.canary import Canary

log = logging.getLogger(__name__)


async def answering_modes(modes: JudgingModes, scheduler: Scheduler) -> tuple[JudgingModes, Canary]:
    """The modes, and the canary that is watched: the default one. Where that has no verdict the other prompts and
    layouts of mode `verdict` are tried, and those without one are left out. Raises ConfigurationError where none is
    left."""
    failures: dict[Way, tuple[Canary, RubricdError]] = {}
    answering: Canary | None = None
    masses: dict[Way, float] = {}
    for way, judging_mode in modes.ways.items():
        if way.mode != "verdict":
            continue
        canary = Canary(judging_mode, scheduler)
        failure = await _failure(canary)
        if failure is not None:
            failures[way] = canary, failure
        else:
            answering = answering or canary
        if canary.label_mass is not None:
            masses[way] = canary.label_mass
        if not failures:
            break  # the default works; another prompt is tried by whoever names it
    if answering is None:
        canary, first = next(iter(failures.values()))
        raise ConfigurationError(
            f"the judge gave no verdict on a canary: {await _why(canary, first)}. Is it a chat model that can answer "
            "with one of the `labels`?"
        ) from first
    for way, (canary, failure) in failures.items():
        log.warning("%s is not served: %s", way.described, await _why(canary, failure))
    return modes.without(
        {way: f"{failure.code}: {failure}" for way, (_, failure) in failures.items()}, masses
    ), answering


async def _failure(canary: Canary) -> RubricdError | None:
    try:
        await canary.check()
    except RubricdError as error:
        return error
    return None


async def _why(canary: Canary, error: RubricdError) -> str:
    """The failure, with what the judge would have said and what an operator can set."""
    why = f"{error.code}: {error}"
    if isinstance(error, Unparseable) and (wanted := await canary.wanted()) is not None:
        why += (
            f"; its answer would begin with {wanted!r}, so set `labels` to what it says, set another `prompt`, or name "
            "another `judge`"
        )
    return why
