"""Runs the command `rubricd`.

Exit codes: 0 done, 1 a response has no score, a rubric has an error, a figure is beyond a limit, a check of an audit
failed or a training ended early, 2 wrong use, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from trainer_client.cli import agree, audit, calibrate, lint, score, size, train
from trainer_client.cli.arguments import Parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code of the command with these arguments, by default those of the process."""
    args = _parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read the output has left, as `head` does. What Python still holds of it goes nowhere, quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    """The parser of the command and its subcommands."""
    whole = Parser(prog="rubricd", description="Get rubric rewards from a judge service.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    scoring = commands.add_parser("score", help="score a file of responses", description=score.DESCRIPTION)
    score.add_arguments(scoring)
    scoring.set_defaults(run=score.run, parser=scoring)
    linting = commands.add_parser("lint", help="find what to look at in rubrics", description=lint.DESCRIPTION)
    lint.add_arguments(linting)
    linting.set_defaults(run=lint.run, parser=linting)
    training = commands.add_parser("train", help="train a policy on rewards", description=train.DESCRIPTION)
    train.add_arguments(training)
    training.set_defaults(run=train.run, parser=training)
    report = commands.add_parser("report", help="write a run's report again", description=train.REPORT)
    train.add_report_arguments(report)
    report.set_defaults(run=train.run_report, parser=report)
    agreeing = commands.add_parser("agree", help="measure judges against labels", description=agree.DESCRIPTION)
    agree.add_arguments(agreeing)
    agreeing.set_defaults(run=agree.run, parser=agreeing)
    auditing = commands.add_parser("audit", help="measure how a judge behaves", description=audit.DESCRIPTION)
    audit.add_arguments(auditing)
    auditing.set_defaults(run=audit.run, parser=auditing)
    calibrating = commands.add_parser(
        "calibrate", help="measure what a judge's P(met) means", description=calibrate.DESCRIPTION
    )
    calibrate.add_arguments(calibrating)
    calibrating.set_defaults(run=calibrate.run, parser=calibrating)
    sizing = commands.add_parser("size", help="calculate how many GPUs a judge needs", description=size.DESCRIPTION)
    size.add_arguments(sizing)
    sizing.set_defaults(run=size.run, parser=sizing)
    return whole
