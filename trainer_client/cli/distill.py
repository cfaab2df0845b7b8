"""Runs `rubricd distill ROWS --base MODEL`: it trains a small judge on labels or on a stronger judge's verdicts.

Guarantees: rows, the teacher and the folders are checked before the model is loaded. What a run has done is kept, and
the same command goes on after an interrupt. Importing this module needs no torch.
"""

import argparse
import asyncio
import importlib.util
import os
import shlex
import sys
from pathlib import Path
from typing import Any, get_args

from trainer_client import wire
from trainer_client.cli.ending import CANNOT_GO_ON, ended
from trainer_client.cli.progress import progress
from trainer_client.cli.service_arguments import add_judge_name, judge_option
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.data import notes
from trainer_client.data.files import sources
from trainer_client.data.items import read_items
from trainer_client.data.reader import Law
from trainer_client.errors import DataError, RubricdClientError
from trainer_client.labels import Labels, read_labels

DESCRIPTION = (
    "Train a small judge to answer in one token, on labels or on the verdicts of a stronger judge. The folder that it "
    "writes is served with `make serve JUDGE=FOLDER`, and has a calibration of the judge (docs/guide/distill.md)."
)
_NEEDED = ("torch", "transformers", "accelerate", "numpy")
_CALIBRATION = "calibration.json"
_FULL_RATE, _LORA_RATE = 5e-5, 2e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="+", metavar="ROWS", help=f"labelled rows in {sources.KINDS}")
    add("--base", required=True, metavar="MODEL", help="the chat model to train: a folder, or a name on the hub")
    add("--out", required=True, type=Path, metavar="FOLDER", help="the judge's new folder")
    add("--teacher", metavar="URL", help="learn the verdicts of the judge at this address instead of the labels")
    add_judge_name(parser, flag="--teacher-judge")
    add("--teacher-mode", default="verdict", choices=get_args(wire.Mode)[:2], help="its judging mode (%(default)s)")
    add("--token-env", default="RUBRICD_KEY", metavar="NAME", help="environment variable with its key (%(default)s)")
    add("--test", metavar="FILE", help="labelled rows of which nothing is learned, for the card's figures")
    add("--lora", type=_count, metavar="RANK", help="train an adapter of this rank and merge it; else all weights")
    add("--epochs", type=_positive, default=3.0, metavar="N", help="passes over the rows, at most (%(default)s)")
    add(
        "--learning-rate",
        type=_positive,
        metavar="RATE",
        help=f"peak of the cosine schedule ({_FULL_RATE:g}; with --lora {_LORA_RATE:g})",
    )
    add("--held-out", type=_share, default=0.1, metavar="SHARE", help="share that chooses the weights (%(default)s)")
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    add(
        "--render",
        metavar="COMMAND",
        help="what renders the prompts (`python -m service render --judge MODEL`, which reads the service's settings "
        "from RUBRICD_* as `serve` does)",
    )


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 trained, 2 for misuse, 130 for an interrupt."""
    try:
        _check(args)
        law = Law(pitfalls=args.pitfalls, say=notes.once())
        labels = _rows(args, law)
        test = None if args.test is None else read_labels([args.test], law=law)
        distilled = _distilled(args, labels, test)
    except CANNOT_GO_ON as error:
        return ended(error, args, resumed="the same command goes on from the last checkpoint")
    for one in distilled.agreements:
        auroc, gain = one.after["auroc"], one.gain
        print(f"rubricd: {one.rows}, against the {one.against}: AUROC {_shown(auroc)}, gain {_shown(gain)}")
    judge = shlex.quote(str(args.out))
    served = f"make serve JUDGE={judge}"
    if _calibrated(args, distilled.held_out):
        served += f" ARGS='--calibration {judge}/{_CALIBRATION}'"
    print(f"rubricd: wrote {args.out}; serve it with: {served}")
    return 0


def _rows(args: argparse.Namespace, law: Law) -> Labels:
    """The labelled rows; with a teacher they need no labels. Raises DataError."""
    try:
        return read_labels(args.files, law=law)
    except DataError as error:
        if args.teacher is None:
            raise
        from trainer_client.distillation.teacher import unlabelled

        rows = unlabelled(read_items(*args.files, law=law))
        print(f"rubricd: the rows are read without labels ({error})", file=sys.stderr)
        return rows


def _check(args: argparse.Namespace) -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if args.lora is not None and importlib.util.find_spec("peft") is None:
        missing.append("peft")
    if missing:
        raise DataError(f"distilling needs {', '.join(missing)}: pip install 'rubricd[train]'")
    if args.out.exists():
        raise DataError(f"{args.out} exists; name another folder with --out")


def _distilled(args: argparse.Namespace, labels: Labels, test: Labels | None) -> Any:
    # These need torch, which takes seconds to import.
    from trainer_client.distillation import run
    from trainer_client.distillation.training import Recipe

    rate = args.learning_rate or (_FULL_RATE if args.lora is None else _LORA_RATE)
    work = run.work_folder(args.out)
    plan = run.Plan(
        base=args.base,
        out=args.out,
        render=_render(args),
        recipe=Recipe(args.epochs, rate, args.lora, seed=0),
        held_out=args.held_out,
        labels=labels,
        test=test,
        taught=None if args.teacher is None else asyncio.run(_taught(args, labels, work)),
    )
    return run.run(plan, lambda text: print(f"rubricd: {text}"))


def _calibrated(args: argparse.Namespace, held_out: Labels) -> bool:
    """Whether the new judge was served and calibrated; where it was not, it is said why, and the judge stays."""
    from trainer_client.distillation.card import add_calibration
    from trainer_client.distillation.served import calibrate

    command = [sys.executable, "-m", "service", "serve", "--judge", str(args.out)]
    try:
        if importlib.util.find_spec("service") is None:
            raise DataError("the service is not installed here")
        print("rubricd: calibrating on the held-out rows, as the service reads them", file=sys.stderr)
        made = calibrate(command, held_out, args.out / _CALIBRATION, os.environ.get(args.token_env) or None)
    except (DataError, RubricdClientError, KeyboardInterrupt) as error:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        print(f"rubricd: not calibrated: {why}; serve the judge and run `rubricd calibrate`", file=sys.stderr)
        return False
    add_calibration(args.out, _CALIBRATION, made)
    gained = made.calibration.gain.log_loss
    print(
        f"rubricd: calibration {made.calibration.name}, {made.calibration.method}: log loss lower by "
        f"{gained.value:.3f} [{gained.low:.3f}, {gained.high:.3f}] on held-out rows"
    )
    return True


async def _taught(args: argparse.Namespace, labels: Labels, work: Path) -> Any:
    from trainer_client.distillation.run import make_folder
    from trainer_client.distillation.teacher import teach

    options: ScoreOptions = {"mode": args.teacher_mode, **judge_option(args.teacher_judge)}
    total = sum(len(one.criteria) for one in labels.items)
    async with JudgeClient(args.teacher, token=os.environ.get(args.token_env) or None) as client:
        await client.judge(args.teacher_judge)  # a wrong address or key is found before a folder is made
        make_folder(work)
        with progress(total, quiet=False) as told:
            return await teach(client, labels, options, work / "teacher.jsonl", told)


def _render(args: argparse.Namespace) -> list[str]:
    if args.render is not None:
        return shlex.split(args.render)
    return [sys.executable, "-m", "service", "render", "--judge", args.base]


def _shown(figure: Any) -> str:
    if figure.value is None:
        return "none"
    from trainer_client.agreement.shown import text

    return text(figure)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number above 0")
    return number


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1")
    return share
