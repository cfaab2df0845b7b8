"""Holds the arguments of `rubricd evaluate`: those that its evaluations share, and those of some of them."""

import argparse
from pathlib import Path
from typing import get_args

from trainer_client import wire
from trainer_client.cli.arguments import new_file
from trainer_client.cli.endpoint_arguments import add_endpoint
from trainer_client.cli.service_arguments import add_judge_name, add_service, aggregation, count
from trainer_client.client import ScoreOptions
from trainer_client.data.files import sources
from trainer_client.labels.judging import MODES


def add_common(parser: argparse.ArgumentParser, *, rows: str, seeds: int = 3) -> None:
    add = parser.add_argument
    add("files", type=Path, nargs="+", metavar="FILE", help=f"{rows}, in {sources.KINDS} (also .gz)")
    add("--answers", type=Path, metavar="FILE", help="the policy's answers: rows with `id`, `response`, maybe `seed`")
    add("--seeds", type=count, default=seeds, metavar="N", help="seeds that an endpoint is asked with (%(default)s)")
    add("--name", metavar="NAME", help="the policy's name in the report (that of its model or file)")
    add("--out", type=Path, metavar="FOLDER", help="what is kept and written (beside FILE: its stem + the evaluation)")
    add("--json", type=new_file, metavar="FILE", help="write results.json of the folder here, too")
    add("--against", type=Path, metavar="FILE", help="results.json of another policy, to compare with prompt by prompt")
    add("--write-prompts", type=Path, metavar="FILE", help="write the prompts to answer elsewhere, and end")
    add("--limit", type=count, metavar="N", help="use only the first N rows")
    add(
        "--reasoning",
        choices=("keep", "remove"),
        default="remove",
        help="reasoning that an answer begins with (%(default)s)",
    )
    add("--quiet", action="store_true", help="show no progress")
    add_endpoint(parser, required=False)


def add_rubrics(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    add("--rubrics", type=Path, metavar="FILE", help="rubrics for rows without one: their rows, or a Harbor judge.toml")
    add("--rubric-folder", type=Path, metavar="FOLDER", help="criteria of rubrics that rows name by their `ref`")


def add_judge(parser: argparse.ArgumentParser, *, layout: str = "rubricd", rates: bool = False) -> None:
    """The judge service, and how it is asked. `rates` where a score is enough, without a verdict on each criterion."""
    group = parser.add_argument_group("the judge")
    add_service(parser)
    add = group.add_argument
    modes = get_args(wire.Mode) if rates else MODES
    add("--mode", choices=modes, default="verdict", help="judging mode (%(default)s)")
    add("--layout", choices=get_args(wire.Layout), default=layout, help="prompt layout (%(default)s)")
    add_judge_name(group)
    add("--judge-prompt", metavar="NAME", help="mode verdict, layout rubricd: the judge's prompt (its default)")
    add("--votes", type=count, default=1, metavar="N", help="mode reasoned: independent samples (%(default)s)")
    add("--threshold", type=float, default=0.5, metavar="P", help="P(met) from which on a criterion is met (0.5)")


def add_scores(parser: argparse.ArgumentParser) -> None:
    """How verdicts become the score of a sample."""
    add = parser.add_argument
    add("--aggregation", type=aggregation, default="healthbench", metavar="NAME|JSON", help="verdicts to score")
    add("--soft", action="store_true", help="aggregate P(met) instead of 0 and 1")
    add("--rating-norm", choices=get_args(wire.RatingNorm), default="(r-1)/9", help="rating modes: 1..10 to a score")


def score_options(args: argparse.Namespace) -> ScoreOptions:
    """The options of the judge; an evaluation is of the class `eval`."""
    found: ScoreOptions = {
        "mode": args.mode,
        "layout": args.layout,
        "votes": args.votes,
        "threshold": args.threshold,
        "priority": "eval",
    }
    if args.judge is not None:
        found["judge"] = args.judge
    if args.judge_prompt is not None:
        found["judge_prompt"] = args.judge_prompt
    if hasattr(args, "aggregation"):
        found |= {"aggregation": args.aggregation, "soft": args.soft, "rating_norm": args.rating_norm}
    return found
