"""`python -m miniature`: print cases with their truth, or train the tiny judge."""

import argparse
import json
import logging
import os
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m miniature", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    cases = commands.add_parser("cases", help="print cases nobody trained on, as JSON lines, with their truth")
    cases.add_argument("--n", type=int, default=100, help="how many (100)")
    cases.add_argument("--seed", type=int, default=0, help="which (0); the same seed gives the same cases")
    cases.set_defaults(run=_cases)
    judge = commands.add_parser("judge", help="train the tiny judge from scratch")
    judge.add_argument("--out", type=Path, required=True, help="folder to write")
    judge.add_argument("--steps", type=int, help="steps of training, instead of the recipe's")
    judge.add_argument("--seed", type=int, default=0, help="of the weights and of the training cases (0)")
    judge.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the CPU (all)")
    judge.set_defaults(run=_judge)
    return parser


def _cases(options: argparse.Namespace) -> int:
    from miniature.cases import evaluation

    try:
        for index in range(options.n):
            case = evaluation(options.seed, index)
            print(json.dumps({"item": case.wire, "met": case.truth}, ensure_ascii=False))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _judge(options: argparse.Namespace) -> int:
    # Read when torch is first imported. Threads that wait by spinning make a shared machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from miniature.judge import make
    from miniature.training import Recipe

    asked = {"seed": options.seed} | ({"steps": options.steps} if options.steps else {})
    make(options.out, Recipe(**asked), threads=options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
