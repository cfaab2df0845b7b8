"""`python -m miniature`: print cases with their truth or rows to train on; train the tiny judge or the tiny policy."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from miniature.experiment import study
from miniature.experiment.run import POLICY
from miniature.world.tasks import SPLITS


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
    cases.add_argument("--broken", action="store_true", help="with responses as of a policy that a reward pushes")
    cases.set_defaults(run=_cases)
    rows = commands.add_parser("rows", help="print the policy's tasks, as JSON lines: items without a response")
    rows.add_argument("--split", choices=SPLITS, required=True, help="`trained` is `train` in other words")
    rows.add_argument("--n", type=int, help="how many (all); every topic comes once before any comes again")
    rows.set_defaults(run=_rows)
    for name, run in (("judge", _judge), ("policy", _policy)):
        model = commands.add_parser(name, help=f"train the tiny {name} from scratch")
        model.add_argument("--out", type=Path, required=True, help="folder to write")
        model.add_argument("--steps", type=int, help="steps of training, instead of the recipe's")
        model.add_argument("--seed", type=int, default=0, help="of the weights and of what is trained on (0)")
        model.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the CPU (all)")
        model.set_defaults(run=run)
        if name == "judge":
            model.add_argument("--before", type=Path, help="folder of a judge to go on from, instead of from scratch")
            model.add_argument(
                "--policies",
                type=lambda given: [Path(one) for one in given.split(",")],
                default=[POLICY],
                help="policies whose texts are among what is judged, comma-separated (the bundled one)",
            )
    several = commands.add_parser("study", help="train the tiny policy over HTTP in several ways, side by side")
    study.add_arguments(several)
    several.set_defaults(run=study.run)
    return parser


def _cases(options: argparse.Namespace) -> int:
    from miniature.world.cases import BROKEN, STANDARD, evaluation

    mix = BROKEN if options.broken else STANDARD
    cases = (evaluation(options.seed, index, mix) for index in range(options.n))
    return _print({"item": case.wire, "met": case.truth} for case in cases)


def _rows(options: argparse.Namespace) -> int:
    from miniature.world.tasks import rows

    return _print(rows(options.split)[: options.n])


def _print(lines: Iterable[dict[str, Any]]) -> int:
    try:
        for line in lines:
            print(json.dumps(line, ensure_ascii=False))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _judge(options: argparse.Namespace) -> int:
    _wait_passively()
    from miniature.judge.make import make
    from miniature.judge.training import Recipe
    from miniature.policy.written import written

    recipe = Recipe(**_asked(options)) if options.before is None else Recipe.going_on(**_asked(options))
    texts = written(options.policies, recipe.seed, recipe.steps * recipe.written)
    make(options.out, recipe, written=texts, before=options.before, threads=options.threads)
    return 0


def _policy(options: argparse.Namespace) -> int:
    _wait_passively()
    from miniature.policy.make import Recipe, make

    make(options.out, Recipe(**_asked(options)), threads=options.threads)
    return 0


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    return {"seed": options.seed} | ({"steps": options.steps} if options.steps else {})


def _wait_passively() -> None:
    # Read when torch is first imported. Threads that wait by spinning make a shared machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


if __name__ == "__main__":
    sys.exit(main())
