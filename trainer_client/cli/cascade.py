"""Runs `rubricd cascade plan LABELS`: it asks judges about labelled rows and writes the plan file of a cascade of them.

Guarantees: verdicts are kept in a file beside the labels, so that the same command goes on after an interrupt. A plan
file is written where a promise can be made that saves something, and else what is there stays as it was.
"""

import argparse
import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from trainer_client import wire
from trainer_client.agreement.spent import Spent
from trainer_client.cascade.page import as_json, lines, page
from trainer_client.cascade.paid import Files, lacking_prompts, paid_judge
from trainer_client.cascade.planning import Kind, NoPlan, Wanted, as_wire, plan
from trainer_client.cascade.spending import Cost, cost, keep_run
from trainer_client.cascade.verdicts import judged_rows
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import CANNOT_GO_ON, ended
from trainer_client.cli.progress import progress
from trainer_client.cli.service_arguments import add_judge_name, add_prices, judge_option
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.data import notes
from trainer_client.data.files import sources
from trainer_client.data.reader import Law
from trainer_client.errors import DataError
from trainer_client.labels import Judged, JudgedCriterion, Labels, judge_labels, read_labels
from trainer_client.labels.judging import MODES, judge_asked
from trainer_client.whole_file import write_whole

DESCRIPTION = "Plan a cascade of judges: the next one is asked where the one before it is unsure."
_PLAN = (
    "Find on labelled rows when a cheap judge's verdict can stand, so that a promise about agreement with the labels "
    "holds at the least cost, and write the plan file of the cascade. Exit code: 0 done, 1 nothing can be promised "
    "that saves anything, 2 wrong use."
)
_DEFAULT_URL = "http://127.0.0.1:8000"
_MOST_JUDGES = 4
_DEFAULT_LOSS = 0.01


@dataclass(frozen=True, slots=True)
class _Arm:
    """One judge: a service, or files of its verdicts, with the options that make a judge of it."""

    url: str
    options: ScoreOptions
    price_in: float | None
    price_out: float | None


@dataclass(frozen=True, slots=True)
class _Known:
    """A judge with what it said of all criteria. `later` counts what it may say at another attempt."""

    name: str
    judge: wire.Judge
    criteria: Sequence[JudgedCriterion]
    cost: Cost
    later: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    own = actions.add_parser("plan", help="write the plan file of a cascade", description=_PLAN)
    own.set_defaults(parser=own)
    add = own.add_argument
    add("labels", nargs="+", metavar="LABELS", help=f"labelled rows in {sources.KINDS} (docs/guide/judge-quality.md)")
    each = "one for all judges, or one for each, the cheapest first"
    add("--url", action="append", metavar="URL", help=f"address of a judge service ({_DEFAULT_URL}); {each}")
    add_judge_name(own, repeated=each)
    add("--mode", action="append", choices=MODES, help=f"judging mode (verdict); {each}")
    add("--judge-prompt", action="append", metavar="NAME", help=f"the judge's prompt (its default); {each}")
    add(
        "--verdicts",
        action="append",
        metavar="NAME=PATH",
        help="a judge whose verdicts are there already, the cheapest first; PATH is a results file of `rubricd score`, "
        "a log, a ledger or a store of verdicts, and may be one of several of NAME; NAME@FINGERPRINT chooses among the "
        "judges of a file. No judge is asked then",
    )
    add("--layout", choices=get_args(wire.Layout), default="rubricd", help="prompt layout (%(default)s)")
    add("--token-env", default="RUBRICD_KEY", metavar="NAME", help="environment variable with the key (%(default)s)")
    promise = own.add_mutually_exclusive_group()
    promise.add_argument(
        "--agreement", type=float, metavar="SHARE", help="promise agreement with at least this share of the labels"
    )
    promise.add_argument(
        "--lose",
        type=float,
        metavar="SHARE",
        help=f"promise to agree at most so much less than the last judge alone (the default, {_DEFAULT_LOSS})",
    )
    add("--delta", type=float, default=0.05, metavar="P", help="chance that the promise is broken (%(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="draws the prompts that propose bands (%(default)s)")
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    add(
        "--store",
        type=new_file,
        metavar="FILE",
        help="verdicts, to resume from (the first LABELS: stem + .verdicts.jsonl)",
    )
    add(
        "--out", type=new_file, metavar="FILE", help="the plan file (beside the first LABELS: its stem + .cascade.json)"
    )
    add("--report", type=new_file, metavar="FILE", help="the page (the plan file's name, with .html)")
    add("--json", type=new_file, metavar="FILE", help="write all figures as JSON, too")
    add_prices(own)
    add("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 a plan is written, 1 there is none, 2 for misuse, 130 for an interrupt."""
    try:
        wanted = _wanted(args)
        arms = _arms(args)
        store, out = _beside(args, args.store, ".verdicts.jsonl"), _beside(args, args.out, ".cascade.json")
        say = notes.once()
        labels = read_labels(args.labels, law=Law(pitfalls=args.pitfalls, say=say))
        without: frozenset[str] = frozenset()
        if args.verdicts:
            paid = [paid_judge(labels, files, say) for files in _files(args, arms)]
            without = lacking_prompts(labels, paid)
            judges = [_Known(one.judge.name or "", one.judge, one.criteria, Cost()) for one in paid]
        else:
            judges = asyncio.run(_asked(args, arms, labels, store))
        return _plan(args, labels, judges, wanted, out, without)
    except NoPlan as none:
        print(f"rubricd: no plan: {none}", file=sys.stderr)
        return 1
    except CANNOT_GO_ON as error:
        return ended(error, args)


def _plan(
    args: argparse.Namespace,
    labels: Labels,
    judges: Sequence[_Known],
    wanted: Wanted,
    out: Path,
    without: frozenset[str],
) -> int:
    """`without` are the groups that are left out."""
    if later := sum(one.later for one in judges):
        raise DataError(f"{later} verdicts are missing for the moment; the same command asks for them")
    by = [one.judge.fingerprint for one in judges]
    if twice := next((one for one in by if by.count(one) > 1), None):
        raise DataError(f"judge {twice} is given twice; a cascade needs different judges")
    rows = judged_rows(labels, [one.criteria for one in judges], without)
    planned = replace(plan(rows, [one.cost for one in judges], wanted, seed=args.seed), left_out=len(without))
    names = _told_apart([one.name for one in judges])
    written = as_wire(planned, list(zip(names, (one.judge for one in judges), strict=True)), labels.digest)
    report = args.report or out.with_suffix(".html")
    write_whole(out, wire.write_cascade_plan(written))
    write_whole(report, page(written, planned))
    if args.json is not None:
        write_whole(args.json, json.dumps(as_json(written, planned), indent=1) + "\n")
    for line in lines(written, planned):
        print(line)
    print(f"rubricd: plan {out}, report {report}")
    return 0


def _wanted(args: argparse.Namespace) -> Wanted:
    """Raises DataError."""
    kind: Kind = "loss" if args.agreement is None else "agreement"
    level = args.agreement if args.agreement is not None else _DEFAULT_LOSS if args.lose is None else args.lose
    for name, value in ((f"--{'lose' if kind == 'loss' else kind}", level), ("--delta", args.delta)):
        if not 0 < value < 1:
            raise DataError(f"{name} {value:g}: write a share between 0 and 1")
    return Wanted(kind, level, args.delta)


def _arms(args: argparse.Namespace) -> list[_Arm]:
    """Raises DataError where the arguments name no two judges."""
    _check_sources(args)
    files = list(dict.fromkeys(one.partition("=")[0] for one in args.verdicts or ()))
    given: dict[str, list[Any]] = {
        "--url": files or args.url or [_DEFAULT_URL],
        "--judge": args.judge or [None],
        "--mode": args.mode or ["verdict"],
        "--judge-prompt": args.judge_prompt or [None],
        "--price-in": args.price_in or [None],
        "--price-out": args.price_out or [None],
    }
    judges = max(map(len, given.values()))
    for name, values in given.items():
        if len(values) not in (1, judges):
            raise DataError(f"{name} is given {len(values)} times for {judges} judges; give it once for each")
        if name.startswith("--price") and any(one is not None and not 0 <= one < math.inf for one in values):
            raise DataError(f"{name}: a price is a number from 0 on")
    if not 2 <= judges <= _MOST_JUDGES:
        raise DataError(
            f"{judges} judge is no cascade; give --url, --judge, --mode, --judge-prompt or --verdicts once for each, "
            "the cheapest first"
            if judges < 2
            else f"a cascade has at most {_MOST_JUDGES} judges, and {judges} are given"
        )
    arms = []
    for url, name, mode, prompt, price_in, price_out in zip(
        *(values * judges if len(values) == 1 else values for values in given.values()), strict=True
    ):
        # as `rubricd agree` asks
        options: ScoreOptions = {"mode": mode, "layout": args.layout, "threshold": 0.5, **judge_option(name)}
        if mode == "reasoned":
            options["votes"] = 1
        if prompt is not None:
            options["judge_prompt"] = prompt
        arms.append(_Arm(url, options, price_in, price_out))
    return arms


def _check_sources(args: argparse.Namespace) -> None:
    """Raises DataError for verdicts from files together with what is for judges that are asked."""
    for one in args.verdicts or ():
        name, _, path = one.partition("=")
        if not name or not path:
            raise DataError(f"--verdicts {one}: write NAME=PATH, such as small=runs/small.results.jsonl")
    asking = [
        f"--{name}" for name in ("url", "judge", "price-in", "price-out") if getattr(args, name.replace("-", "_"))
    ]
    if args.verdicts and asking:
        raise DataError(f"{asking[0]}: with --verdicts no judge is asked, and what verdicts took is not in the files")


def _files(args: argparse.Namespace, arms: Sequence[_Arm]) -> Iterator[Files]:
    """The files of each judge, in the order in which the judges were named first."""
    for arm in arms:
        name, _, fingerprint = arm.url.partition("@")
        paths = [Path(path) for whose, _, path in (one.partition("=") for one in args.verdicts) if whose == arm.url]
        yield Files(name, fingerprint or None, paths, arm.options)


async def _asked(args: argparse.Namespace, arms: Sequence[_Arm], labels: Labels, store: Path) -> list[_Known]:
    """All judges, one after the other. What each took is kept beside the verdicts."""
    runs = store.with_name(f"{store.name.removesuffix('.jsonl')}.spent.jsonl")
    token = os.environ.get(args.token_env) or None
    found: list[tuple[Judged, Cost]] = []
    with progress(len(arms) * sum(len(one.criteria) for one in labels.items), args.quiet) as told:
        for arm in arms:
            async with JudgeClient(arm.url, token=token) as client:
                judge = judge_asked(await client.judge(arm.options.get("judge")), arm.options).fingerprint
                if any(judge == one.judge.fingerprint for one, _ in found):
                    raise DataError(f"judge {judge} is given twice; a cascade needs different judges")
                began_s = time.monotonic()
                try:
                    judged = await judge_labels(client, labels, options=arm.options, store=store, progress=told)
                finally:
                    keep_run(runs, judge, labels.digest, _spent(client, time.monotonic() - began_s))
            found.append((judged, cost(runs, judge, labels.digest, arm.price_in, arm.price_out)))
    return [_Known(_name(one), one.judge, one.criteria, cost, one.may_come_later) for one, cost in found]


def _spent(client: JudgeClient, seconds: float) -> Spent:
    used = client.usage
    return Spent(
        used.judgements + used.cache_hits + used.deduplicated,
        seconds,
        used.judgements,
        used.cache_hits,
        used.prompt_tokens,
        used.completion_tokens,
    )


def _name(judged: Judged) -> str:
    """The judge's name or else the model's."""
    return judged.options.get("judge") or Path(judged.judge.model).name or "judge"


def _told_apart(names: Sequence[str]) -> list[str]:
    """The names, each with its place where two are the same."""
    return [f"{name} ({n})" if names.count(name) > 1 else name for n, name in enumerate(names, 1)]


def _beside(args: argparse.Namespace, given: Path | None, ending: str) -> Path:
    first = args.labels[0]
    if given is not None:
        return given
    if first == sources.STANDARD_INPUT:
        raise DataError("standard input has no name for the plan and the verdicts; name them with --out and --store")
    return Path(first).with_name(f"{sources.stem(first)}{ending}")
