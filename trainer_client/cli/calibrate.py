"""Runs `rubricd calibrate LABELS`: it measures what P(met) of a judge means, and writes the file for `--calibration`.

Guarantees: the judge's verdicts are kept beside the file, so that the same command goes on after an interrupt and asks
nothing twice. Calibrations of other judges in the file stay.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from trainer_client import wire
from trainer_client.calibration.collection import collect, queries
from trainer_client.calibration.levels import MadeLevels, make_levels, shown
from trainer_client.calibration.made import Made, make, read_file, write_file
from trainer_client.calibration.rows import PriorOf, Rows
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import CANNOT_GO_ON, ended
from trainer_client.cli.progress import progress
from trainer_client.cli.service_arguments import add_judge_name, add_service, composed_of, judge_option
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.data import notes
from trainer_client.data.files import sources
from trainer_client.data.reader import Law
from trainer_client.errors import DataError
from trainer_client.labels import Judged, Labels, read_labels
from trainer_client.labels.judging import MODES
from trainer_client.whole_file import write_whole

DESCRIPTION = (
    "Measure on labelled rows what P(met) of a judge means, choose a calibration, certify the judge, and write the "
    "file that the service takes by --calibration. Exit code: 0 done, 2 wrong use or too few labels."
)
_PRIORS: dict[str, tuple[PriorOf, ...]] = {
    "both": ("criterion", "response"),
    "criterion": ("criterion",),
    "response": ("response",),
    "none": (),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="+", metavar="LABELS", help="labelled rows (docs/guide/judge-quality.md)")
    add_service(parser)
    add_judge_name(parser)
    add("--mode", default="verdict", choices=MODES, help="judging mode (%(default)s)")
    add("--layout", default="rubricd", choices=get_args(wire.Layout), help="prompt layout (%(default)s)")
    add("--judge-prompt", metavar="NAME", help="the judge's prompt, one that it serves (its default)")
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    add(
        "--priors",
        default="both",
        choices=tuple(_PRIORS),
        help="content-free queries to try: the criterion N/A about each response, each criterion about an empty "
        "response, or both (%(default)s)",
    )
    add("--out", type=new_file, default=Path("calibration.json"), metavar="FILE", help="the file (%(default)s)")
    add("--json", type=new_file, metavar="FILE", help="write all figures as JSON, too")
    add("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0, 2 for misuse or too few labels, 130 for an interrupt."""
    try:
        read_file(args.out)  # what is no calibration file is refused before the judge is asked
        labels = read_labels(args.files, law=Law(pitfalls=args.pitfalls, say=notes.once()))
        judged, rows = asyncio.run(_collected(args, labels))
        made, levels, lacking = _made(labels, judged, rows)
        found = [] if made is None else [made.calibration]
        of_levels = [] if levels is None else [levels.calibration]
        write_file(args.out, found, of_levels)
        if args.json is not None:
            write_whole(args.json, json.dumps(as_json(made, levels), indent=1) + "\n")
    except CANNOT_GO_ON as error:
        return ended(error, args)
    for line in [*(lines(made) if made else ()), *(shown(levels) if levels else ())]:
        print(line)
    for why in lacking:
        print(f"rubricd: {why}", file=sys.stderr)
    if later := judged.may_come_later:
        print(f"rubricd: {later} verdicts are missing for the moment; the same command asks for them", file=sys.stderr)
    for name, judge in [(one.name, one.judge) for one in found] + [(one.name, one.judge) for one in of_levels]:
        whose = judge if args.judge is None else f"`{args.judge}` ({judge})"
        print(f"rubricd: {name} for judge {whose} is in {args.out}")
    return 0


def _made(labels: Labels, judged: Judged, rows: Rows) -> tuple[Made | None, MadeLevels | None, list[str]]:
    """The calibrations of both kinds of labels that are there, and why one is lacking. Raises DataError where neither
    can be made."""
    made: Made | None = None
    levels: MadeLevels | None = None
    lacking: list[str] = []
    try:
        made = make(judged, rows) if labels.labelled else None
    except DataError as error:
        lacking.append(str(error))
    try:
        levels = make_levels(labels, judged) if labels.graded else None
    except DataError as error:
        lacking.append(str(error))
    if made is None and levels is None:
        raise DataError("; ".join(lacking))
    return made, levels, lacking


async def _collected(args: argparse.Namespace, labels: Labels) -> tuple[Judged, Rows]:
    options: ScoreOptions = {"mode": args.mode, "layout": args.layout, **judge_option(args.judge)}
    if args.judge_prompt is not None:
        options["judge_prompt"] = args.judge_prompt
    priors = _PRIORS[args.priors] if args.mode == "verdict" and labels.labelled else ()
    store = args.out.with_name(f"{sources.stem(args.out)}.verdicts.jsonl")
    with progress(queries(labels, priors), args.quiet) as told:
        token = os.environ.get(args.token_env) or None
        async with JudgeClient(args.url, token=token, concurrency=args.concurrency) as client:
            _check_calibratable(await client.judge(args.judge))
            return await collect(client, labels, priors, options=options, store=store, progress=told)


def _check_calibratable(info: wire.JudgeInfo) -> None:
    """Raises DataError for a composition: `--calibration` is of a judge that an engine runs."""
    if composed := composed_of(info):
        raise DataError(
            f"{composed}, and a calibration is of one judge; calibrate these by --judge, and name each file in its "
            "entry of the judges file"
        )


def lines(made: Made) -> Iterator[str]:
    """What was tried, what it gained, and the certificate, for a person."""
    rows, calibration = made.rows, made.calibration
    left_out = "; ".join(f"{count} {reason}" for reason, count in rows.left_out.items())
    yield f"{len(rows):,} criteria of {calibration.data.groups:,} prompts, {calibration.data.met:,} of them met" + (
        f" (left out: {left_out})" if left_out else ""
    )
    yield "log loss on rows that it was not fitted to, and by how much it is above the best (1 standard error):"
    for one in made.chosen.tried:
        mark = "*" if one.candidate == made.chosen.candidate else " "
        yield f" {mark} {one.candidate.name:36} {one.log_loss:.4f}   +{one.above_best:.4f} ({one.error:.4f})"
    yield f"gain: log loss {_shown(calibration.gain.log_loss)}, calibration error {_shown(calibration.gain.ece)}"
    certificate = calibration.certificate
    yield (
        f"certificate at threshold {certificate.threshold:g}: calibration error {_shown(certificate.ece)}, log loss "
        f"{_shown(certificate.log_loss)}, Brier {_shown(certificate.brier)}"
    )
    for sign, rates in (("positive", certificate.positive), ("negative", certificate.negative)):
        if rates.met + rates.unmet:
            yield (
                f"  {sign} points: false positives {_shown(rates.false_positive)} of {rates.unmet:,}, false negatives "
                f"{_shown(rates.false_negative)} of {rates.met:,}"
            )
        if rates.informedness is not None and rates.informedness.low <= 0:
            yield (
                f"  on {sign} points this judge may tell nothing: 1 - both rates is {_shown(rates.informedness)}, "
                "and a coin has 0; no calibration helps that"
            )


def as_json(made: Made | None, levels: MadeLevels | None = None) -> dict[str, Any]:
    graded = {}
    if levels is not None:
        own = levels.calibration
        graded = {"levels": {"name": own.name, **own.model_dump(mode="json"), "tried": dict(levels.losses)}}
    return (_as_json(made) if made is not None else {}) | graded


def _as_json(made: Made) -> dict[str, Any]:
    tried = [
        {
            "name": one.candidate.name,
            "log_loss": one.log_loss,
            "above_best": one.above_best,
            "standard_error": one.error,
            "chosen": one.candidate == made.chosen.candidate,
        }
        for one in made.chosen.tried
    ]
    calibration = {"name": made.calibration.name, **made.calibration.model_dump(mode="json")}
    return {"calibration": calibration, "tried": tried, "left_out": dict(made.rows.left_out)}


def _shown(interval: wire.Interval | None) -> str:
    if interval is None:
        return "unknown"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
