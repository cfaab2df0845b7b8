"""Runs `rubricd ledger verify`: checks that lines were only added to a ledger of verdicts.

Guarantees: nothing is written. Every file is read whole, and what differs is named with its file and line.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from trainer_client.cli.ending import sentence_of
from trainer_client.errors import DataError
from trainer_client.ledger.checking import check

DESCRIPTION = "Check that lines were only added to the files of a ledger of verdicts."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    about = "check the links of all lines, and of the files among each other"
    verify = actions.add_parser("verify", help=about, description=f"{about[0].upper()}{about[1:]}.")
    verify.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folders of a ledger, or files of one")
    verify.add_argument("--json", action="store_true", help="print the report as JSON")
    verify.set_defaults(parser=verify)


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 as it was written, 1 something differs, 2 there is no ledger, 130 for an interrupt."""
    try:
        report = check(args.paths)
    except (DataError, OSError) as error:
        print(f"rubricd: {sentence_of(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("rubricd: interrupted", file=sys.stderr)
        return 130
    if args.json:
        print(json.dumps(asdict(report), indent=2))
        return 1 if report.problems else 0
    for note in report.notes:
        print(f"note: {note}")
    for problem in report.problems:
        print(f"problem: {problem}")
    found = f"{len(report.problems)} problem(s)" if report.problems else "as they were written"
    print(f"{report.entries:,} verdicts in {report.files:,} file(s): {found}")
    return 1 if report.problems else 0
