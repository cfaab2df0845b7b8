"""The command `rubricd`. Exit codes: 0 done, 1 something has no score or a training ended early, 2 used wrongly, 130
interrupted."""

import argparse
import sys
from collections.abc import Sequence

from trainer_client import score_command, size_command
from trainer_client.training import command as train_command


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="rubricd", description="Rubric rewards from a judge service.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    score = commands.add_parser("score", help="score a file of responses", description=score_command.DESCRIPTION)
    score_command.add_arguments(score)
    score.set_defaults(run=score_command.run)
    train = commands.add_parser("train", help="train a policy on rewards", description=train_command.DESCRIPTION)
    train_command.add_arguments(train)
    train.set_defaults(run=train_command.run)
    report = commands.add_parser("report", help="write a training's page again", description=train_command.REPORT)
    train_command.add_report_arguments(report)
    report.set_defaults(run=train_command.run_report)
    size = commands.add_parser("size", help="how many GPUs a judge needs", description=size_command.DESCRIPTION)
    size_command.add_arguments(size)
    size.set_defaults(run=size_command.run)
    args = parser.parse_args(argv)
    code: int = args.run(args)
    return code


if __name__ == "__main__":
    sys.exit(main())
