"""Runs `rubricd align PAIRS`: how often judges prefer the better one of two responses, in each judging mode.

Guarantees: nothing is asked before all rows have been read. Answers are kept in a file beside the pairs, so that the
same command goes on after an interrupt.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, get_args

from trainer_client import wire
from trainer_client.alignment.answers import open_store
from trainer_client.alignment.arms import NAMES, arms_for, asks_of
from trainer_client.alignment.asking import Judge, ask_all, questions
from trainer_client.alignment.labelled import labelled_pairs
from trainer_client.alignment.page import page
from trainer_client.alignment.study import Study, study_of
from trainer_client.cli.align_lines import lines
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import CANNOT_GO_ON, ended
from trainer_client.cli.progress import progress
from trainer_client.cli.service_arguments import add_judge_name, add_prices, count, prices_of
from trainer_client.client import JudgeClient
from trainer_client.data import notes
from trainer_client.data.files import sources
from trainer_client.data.reader import Law
from trainer_client.errors import DataError
from trainer_client.labels import read_labels
from trainer_client.perturbation.responses import RESPONSE_KINDS
from trainer_client.preferences.building import build_pairs
from trainer_client.preferences.pairs import PreferencePair
from trainer_client.preferences.reading import read_pairs
from trainer_client.whole_file import write_whole

DESCRIPTION = (
    "Measure how often judges prefer the better one of two responses: with and without rubric and reference, as "
    "verdicts, ratings and comparisons, with 95 % intervals. Exit code: 0 done, 2 wrong use."
)
_DEFAULT_URL = "http://127.0.0.1:8000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("pairs", nargs="+", metavar="PAIRS", help=f"pairs of responses in {sources.KINDS} (docs/guide/align.md)")
    add("--url", action="append", metavar="URL", help=f"address of a judge service ({_DEFAULT_URL}); may be repeated")
    add_judge_name(parser, repeated="may be repeated")
    add("--token-env", default="RUBRICD_KEY", metavar="NAME", help="environment variable with the key (%(default)s)")
    add("--arm", action="append", default=[], choices=NAMES, help="an arm of the study (all); may be repeated")
    add(
        "--perturb",
        action="append",
        default=[],
        choices=RESPONSE_KINDS,
        help="build the pairs: PAIRS holds good responses, or rubrics to write them from, and the rejected ones are "
        "made by this rule; may be repeated",
    )
    add(
        "--labels",
        action="store_true",
        help="PAIRS are labelled rows, as `rubricd agree` reads them: of two answers to a prompt the better one is "
        "that whose labels earn more",
    )
    add("--prompts", type=count, metavar="N", help="take the pairs of so many prompts, drawn by --seed (all)")
    add("--seed", type=int, default=0, metavar="N", help="for what is drawn (%(default)s)")
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    add("--response-column", metavar="NAME", help="with --perturb: the column of the good response")
    add_prices(parser)
    add("--store", type=new_file, metavar="FILE", help="answers, to resume from (the first PAIRS: stem + .align.jsonl)")
    add("--out", type=new_file, metavar="FILE", help="the report (beside the first PAIRS: its stem + .align.html)")
    add("--json", type=new_file, metavar="FILE", help="write all figures as JSON, too")
    add("--quiet", action="store_true", help="show no progress")


@dataclass(frozen=True, slots=True)
class _Taken:
    pairs: list[PreferencePair]
    more: dict[str, Any] = field(default_factory=dict)


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 done, 2 for misuse, 130 for an interrupt."""
    try:
        store, out = _beside(args, args.store, ".align.jsonl"), _beside(args, args.out, ".align.html")
        done = asyncio.run(_study(args, _pairs(args), store))
        write_whole(out, page(done))
        if args.json is not None:
            write_whole(args.json, json.dumps(done.as_json(), indent=1))
    except CANNOT_GO_ON as error:
        return ended(error, args)
    for line in lines(done):
        print(line)
    print(f"rubricd: report {out}")
    return 0


def _beside(args: argparse.Namespace, given: Path | None, ending: str) -> Path:
    first = args.pairs[0]
    if given is not None:
        return given
    if first == sources.STANDARD_INPUT:
        raise DataError("standard input has no name for the report and the answers; name them with --out and --store")
    return Path(first).with_name(f"{sources.stem(first)}{ending}")


def _pairs(args: argparse.Namespace) -> _Taken:
    law = Law(pitfalls=args.pitfalls, response_column=args.response_column, say=notes.once())
    if args.labels and args.perturb:
        raise DataError("--labels has pairs, and --perturb builds them; give one of the two")
    if args.labels:
        found = labelled_pairs(read_labels(args.pairs, law=law))
        if not found.pairs:
            raise DataError(f"{', '.join(args.pairs)}: no two answers to a prompt whose labels earn different rewards")
        taken = _Taken(list(found.pairs), {"left_out": found.left_out})
    elif not args.perturb:
        taken = _Taken(read_pairs(args.pairs, law))
    else:
        built = build_pairs(args.pairs, list(dict.fromkeys(args.perturb)), seed=args.seed, law=law)
        taken = _Taken(list(built.pairs), {"seed": args.seed, "written": built.written, "left_out": built.left_out})
    groups = list(dict.fromkeys(pair.group for pair in taken.pairs))
    if args.prompts is None or args.prompts >= len(groups):
        return taken
    drawn = set(Random(args.seed).sample(groups, args.prompts))
    if taken.more.get("written"):
        taken.more["written"] = min(taken.more["written"], args.prompts)
    return _Taken([pair for pair in taken.pairs if pair.group in drawn], taken.more)


async def _study(args: argparse.Namespace, taken: _Taken, path: Path) -> Study:
    """Asks the judges one after the other, each everything, and puts the results together."""
    arms = arms_for(taken.pairs, args.arm)
    if not arms:
        raise DataError(f"no pair has what --arm {' '.join(args.arm)} needs, a rubric or a reference; name another arm")
    asks = asks_of(arms)
    async with AsyncExitStack() as stack:
        judges = await _judges(args, stack)
        store = stack.enter_context(open_store(path))
        total = len(judges) * sum(len(questions(ask, taken.pairs)) for ask in asks)
        told = stack.enter_context(progress(total, args.quiet, "questions"))
        for judge in judges:
            for ask in asks:
                if judge.fingerprint(ask) is None:
                    print(f"rubricd: {judge.name} does not serve {ask.mode}: {judge.why_not(ask)}", file=sys.stderr)
                await ask_all(judge, ask, taken.pairs, store, told)
        prices = prices_of(args, [judge.name for judge in judges])
        return study_of(judges, arms, taken.pairs, store, more=taken.more, prices=prices)


async def _judges(args: argparse.Namespace, stack: AsyncExitStack) -> Sequence[Judge]:
    found = []
    token = os.environ.get(args.token_env) or None
    for url, asked in dict.fromkeys(product(args.url or [_DEFAULT_URL], args.judge or [None])):
        client = await stack.enter_async_context(JudgeClient(url, token=token))
        found.append((url, client, await client.judge(asked), asked))
    models = [asked or Path(info.model).name for _, _, info, asked in found]
    if len(set(models)) < len(models):
        models = [" ".join(filter(None, (url.partition("://")[2] or url, asked))) for url, _, _, asked in found]
    return [Judge(name, *one) for name, one in zip(models, found, strict=True)]
