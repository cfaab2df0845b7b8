"""Makes the calibration of a judge out of labelled verdicts, and writes it into a file beside those of other judges.

Guarantees: too few labels, or labels of one kind alone, make none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer_client import wire
from trainer_client.calibration.candidates import CONTENT_FREE, LEAST_OF_EACH
from trainer_client.calibration.certificate import certify, gain
from trainer_client.calibration.choice import Chosen, choose
from trainer_client.calibration.rows import Rows
from trainer_client.errors import DataError
from trainer_client.labels import Judged
from trainer_client.whole_file import write_whole

LEAST_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Made:
    """The calibration, how it was chosen, and the rows that it is of."""

    calibration: wire.Calibration
    chosen: Chosen
    rows: Rows


def check_enough(rows: Rows) -> None:
    """Raises DataError where the rows carry no calibration."""
    met, unmet, groups = int(rows.met.sum()), int((~rows.met).sum()), len(np.unique(rows.groups))
    left_out = ", ".join(f"{count} {reason}" for reason, count in rows.left_out.items())
    seen = f"{met} criteria that are met and {unmet} that are not, of {groups} prompts"
    if left_out:
        seen += f" (left out: {left_out})"
    if min(met, unmet) < LEAST_OF_EACH:
        raise DataError(
            f"the judge has verdicts on {seen}; a calibration takes {LEAST_OF_EACH} of each, so label more rows of "
            "the kind that is missing"
        )
    if groups < LEAST_GROUPS:
        raise DataError(f"the judge has verdicts on {seen}; a calibration takes {LEAST_GROUPS} prompts, so label more")


def make(judged: Judged, rows: Rows) -> Made:
    """Raises DataError."""
    check_enough(rows)
    chosen = choose(rows)
    prior = chosen.candidate.prior
    judge = judged.judge
    calibration = wire.Calibration(
        judge=judge.uncalibrated or judge.fingerprint,
        model=judge.model,
        mode="reasoned" if judge.mode == "reasoned" else "verdict",
        layout=judge.layout,
        prompt=judge.prompt,
        method=chosen.candidate.method,
        curves=chosen.curves,
        prior=None if prior is None else wire.Prior(of=prior, text=CONTENT_FREE[prior]),
        data=wire.CalibrationData(
            digest=judged.labels_digest,
            criteria=len(rows),
            met=int(rows.met.sum()),
            groups=len(np.unique(rows.groups)),
        ),
        gain=gain(rows, chosen.cross_fitted),
        certificate=certify(rows, chosen.held_out),
    )
    return Made(calibration, chosen, rows)


def read_file(path: Path) -> wire.CalibrationFile | None:
    """None where there is no file yet. Raises DataError for a file of another kind."""
    if not path.exists():
        return None
    try:
        return wire.parse_calibrations(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is there and is no calibration file ({error}); name another with --out") from None


def write_file(path: Path, made: Sequence[wire.Calibration], levels: Sequence[wire.LevelCalibration] = ()) -> None:
    """Writes the file with these in place of earlier ones of the same judges, or leaves it as it was."""
    there = read_file(path)
    new = {one.judge for one in made} | {one.judge for one in levels}
    others = [one for one in (there.calibrations if there else ()) if one.judge not in new]
    of_levels = [one for one in (there.levels if there else ()) if one.judge not in new]
    write_whole(path, wire.write_calibrations([*others, *made], [*of_levels, *levels]))
