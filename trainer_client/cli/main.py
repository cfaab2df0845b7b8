"""The command `rubricd`. Exit codes: 0 done, 1 something has no score or a training ended early, 2 used wrongly, 130
interrupted."""

import argparse
from collections.abc import Sequence

from trainer_client.cli import score, size, train


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="rubricd", description="Rubric rewards from a judge service.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    scoring = commands.add_parser("score", help="score a file of responses", description=score.DESCRIPTION)
    score.add_arguments(scoring)
    scoring.set_defaults(run=score.run)
    training = commands.add_parser("train", help="train a policy on rewards", description=train.DESCRIPTION)
    train.add_arguments(training)
    training.set_defaults(run=train.run)
    report = commands.add_parser("report", help="write a training's page again", description=train.REPORT)
    train.add_report_arguments(report)
    report.set_defaults(run=train.run_report)
    sizing = commands.add_parser("size", help="how many GPUs a judge needs", description=size.DESCRIPTION)
    size.add_arguments(sizing)
    sizing.set_defaults(run=size.run)
    args = parser.parse_args(argv)
    code: int = args.run(args)
    return code
