"""Gives each judging mode the calibration that was made for it. Pure.

Guarantees: a judge with a calibration has another fingerprint than without, and another one with every other
calibration. A calibration that was made for no judge that is served is refused.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from service.errors import ConfigurationError
from service.modes.calibration import Calibration
from service.modes.level_calibration import LevelCalibration
from service.modes.modes import JudgingMode, ReasonedMode, VerdictMode
from service.modes.text_modes import TextReasonedMode, TextVerdictMode

Key = TypeVar("Key")


def calibrated_modes(
    modes: Mapping[Key, JudgingMode], calibrations: Sequence[Calibration], *, escalates: bool
) -> dict[Key, JudgingMode]:
    """`escalates` says whether mode `verdict` takes verdicts of mode `reasoned`, so that these are a part of its judge.
    Raises ConfigurationError."""
    by_judge = {one.judge: one for one in calibrations}
    for one in calibrations:
        _check_served(one, [mode for mode in modes.values() if mode.judge.batch is None])
    found: dict[Key, JudgingMode] = {}
    for key, mode in modes.items():
        own = by_judge.get(mode.judge.uncalibrated)
        parts = [] if own is None else [own.name]
        if escalates and isinstance(mode, VerdictMode | TextVerdictMode):
            parts += _second_opinions(mode, modes.values(), by_judge)
        if mode.judge.level_calibration is not None:
            parts.append(f"levels {mode.judge.level_calibration.name}")
        found[key] = mode
        if parts and isinstance(mode, VerdictMode | ReasonedMode | TextVerdictMode | TextReasonedMode):
            judge = mode.judge
            fingerprint = _fingerprint(judge.uncalibrated, parts)
            found[key] = replace(mode, judge=replace(judge, fingerprint=fingerprint, calibration=own))
    return found


def calibrated_levels(
    modes: Mapping[Key, JudgingMode], calibrations: Sequence[LevelCalibration]
) -> dict[Key, JudgingMode]:
    """How levels are read under a calibration has another fingerprint, which `calibrated_modes` joins to the mode's
    own: whoever pins a judge pins what its levels are worth. Raises ConfigurationError for a calibration of a judge
    that reads no levels here."""
    by_judge = {one.judge: one for one in calibrations}
    found: dict[Key, JudgingMode] = {}
    used: set[str] = set()
    for key, mode in modes.items():
        found[key] = mode
        reading = mode.readings.levels if isinstance(mode, VerdictMode | ReasonedMode) else None
        own = None if reading is None else by_judge.get(reading.judge.uncalibrated)
        if reading is None or own is None or not isinstance(mode, VerdictMode | ReasonedMode):
            continue
        used.add(own.judge)
        named = replace(reading.judge, fingerprint=_fingerprint(own.judge, ["levels", own.name]))
        prints = {**mode.judge.readings, "levels": named.fingerprint, "levels_uncalibrated": own.judge}
        judge = replace(mode.judge, readings=prints, level_calibration=own)
        readings = replace(mode.readings, levels=replace(reading, judge=named))
        found[key] = replace(mode, judge=judge, readings=readings)
    if left := by_judge.keys() - used:
        raise ConfigurationError(
            f"`calibration` has one for levels that was made for judge {min(left)}, which reads no levels here: "
            "make it again with `rubricd calibrate`, or leave it out"
        )
    return found


def _second_opinions(
    mode: VerdictMode | TextVerdictMode, modes: Iterable[JudgingMode], by_judge: Mapping[str, Calibration]
) -> list[str]:
    """The calibrations of the written verdicts that this mode takes, of plain criteria and of levels."""
    found: list[str] = []
    for one in modes:
        if isinstance(one, ReasonedMode | TextReasonedMode) and one.judge.layout == mode.judge.layout:
            own, levels = by_judge.get(one.judge.uncalibrated), one.judge.level_calibration
            found += [] if own is None else [f"second {own.name}"]
            found += [] if levels is None else [f"second levels {levels.name}"]
    return found


def _check_served(calibration: Calibration, modes: Iterable[JudgingMode]) -> None:
    wanted = calibration.mode, calibration.layout, calibration.prompt
    same = [one.judge for one in modes if (one.judge.mode, one.judge.layout, one.judge.prompt) == wanted]
    if any(judge.uncalibrated == calibration.judge for judge in same):
        return
    prompt = "" if calibration.prompt is None else f" with prompt `{calibration.prompt}`"
    place = f"mode `{calibration.mode}` and layout `{calibration.layout}`{prompt}"
    served = ", ".join(judge.uncalibrated for judge in same)
    raise ConfigurationError(
        f"`calibration` has one that was made for judge {calibration.judge} in {place}, "
        + (f"where this service has judge {served}" if same else "which this service does not serve")
        + ": make it again with `rubricd calibrate`, or leave it out"
    )


def _fingerprint(uncalibrated: str, parts: Sequence[str]) -> str:
    digest = hashlib.sha256(b"calibrated")
    for field in (uncalibrated, *parts):
        raw = field.encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:16]
