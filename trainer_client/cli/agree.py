"""Runs `rubricd agree LABELS`: it asks judges about labelled rows and writes how well they agree with the labels.

Guarantees: nothing is asked before all labels have been read. Verdicts are kept in a file beside the labels, so that
the same command goes on after an interrupt. A figure beyond a limit of the caller is an exit code.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

from trainer_client import wire
from trainer_client.agreement.measured import Asked, measure
from trainer_client.agreement.page import page
from trainer_client.agreement.spent import Spent
from trainer_client.agreement.thresholds import KNOWN, Limit, beyond
from trainer_client.cli.agree_lines import lines
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import CANNOT_GO_ON, ended, sentence_of
from trainer_client.cli.progress import progress
from trainer_client.cli.service_arguments import add_judge_name, add_prices, count, judge_option, prices_of
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.data import notes
from trainer_client.data.files import sources
from trainer_client.data.reader import Law
from trainer_client.errors import DataError, InvalidRequest
from trainer_client.labels import Judged, Labels, judge_labels, read_labels
from trainer_client.labels.judging import MODES
from trainer_client.whole_file import write_whole

DESCRIPTION = (
    "Measure how well judges agree with labels, on criteria and on rewards, with 95 % intervals. Exit code: 0 done, 1 "
    "a figure is beyond a limit (--at-least, --at-most), 2 wrong use."
)
_DEFAULT_URL = "http://127.0.0.1:8000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("labels", nargs="+", metavar="LABELS", help=f"labelled rows in {sources.KINDS} (docs/guide/judge-quality.md)")
    add("--url", action="append", metavar="URL", help=f"address of a judge service ({_DEFAULT_URL}); may be repeated")
    add_judge_name(parser, repeated="may be repeated")
    add("--token-env", default="RUBRICD_KEY", metavar="NAME", help="environment variable with the key (%(default)s)")
    add("--mode", action="append", choices=MODES, help="judging mode (verdict); may be repeated")
    add("--layout", action="append", choices=get_args(wire.Layout), help="prompt layout (rubricd); may be repeated")
    add(
        "--judge-prompt",
        action="append",
        metavar="NAME",
        help="mode verdict, layout rubricd: the judge's prompt (its default); may be repeated",
    )
    add("--votes", type=count, default=1, metavar="N", help="mode reasoned: independent samples (%(default)s)")
    add(
        "--batch",
        action="append",
        choices=("one", "all"),
        help="mode reasoned: one criterion a document (one), or all of a response (all); may be repeated",
    )
    add(
        "--threshold",
        type=float,
        default=0.5,
        metavar="P",
        help="P(met) from which on a criterion is met (%(default)s)",
    )
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    add(
        "--store",
        type=new_file,
        metavar="FILE",
        help="verdicts, to resume from (the first LABELS: stem + .verdicts.jsonl)",
    )
    add("--out", type=new_file, metavar="FILE", help="the report (beside the first LABELS: its stem + .agreement.html)")
    add("--json", type=new_file, metavar="FILE", help="write all figures as JSON, too")
    for side in ("least", "most"):
        add(
            f"--at-{side}",
            action="append",
            default=[],
            metavar="METRIC=VALUE",
            help=f"exit with 1 unless each judge's METRIC, a name in the JSON, is at {side} VALUE; may be repeated",
        )
    add_prices(parser)
    add("--quiet", action="store_true", help="show no progress")


@dataclass(frozen=True, slots=True)
class _Arm:
    """One judge to ask: a service with the options that make a judge of it."""

    url: str
    options: ScoreOptions

    @property
    def priced(self) -> tuple[str, str]:
        """The judge, which has one price in every mode and prompt."""
        return self.url, self.options.get("judge") or ""


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 done, 1 if a figure is beyond a limit, 2 for misuse, 130 for an interrupt."""
    try:
        limits = _limits(args)
        store, out = _beside(args, args.store, ".verdicts.jsonl"), _beside(args, args.out, ".agreement.html")
        labels = read_labels(args.labels, law=Law(pitfalls=args.pitfalls, say=notes.once()))
        judged = asyncio.run(_judged(args, labels, store))
    except CANNOT_GO_ON as error:
        return ended(error, args)
    try:
        return _report(args, labels, judged, limits, out)
    except OSError as error:
        return _misused(sentence_of(error))


def _misused(problem: str) -> int:
    print(f"rubricd: {problem}", file=sys.stderr)
    return 2


def _report(
    args: argparse.Namespace, labels: Labels, judged: Sequence[Asked], limits: Sequence[Limit], out: Path
) -> int:
    measured = measure(labels, judged)
    write_whole(out, page(measured))
    if args.json is not None:
        write_whole(args.json, json.dumps(measured.as_json(), indent=1, ensure_ascii=False))
    for line in lines(measured):
        print(line)
    print(f"rubricd: report {out}")
    if later := sum(one.judged.may_come_later for one in judged):
        print(f"rubricd: {later} verdicts are missing for the moment; the same command asks for them", file=sys.stderr)
    missed = list(beyond(measured, limits))
    for sentence in missed:
        print(f"rubricd: {sentence}", file=sys.stderr)
    return 1 if missed else 0


def _limits(args: argparse.Namespace) -> list[Limit]:
    found = []
    for option, at_least in (("at_least", True), ("at_most", False)):
        for text in getattr(args, option):
            metric, _, number = text.partition("=")
            flag = f"--{option.replace('_', '-')}"
            if metric not in KNOWN:
                raise DataError(f"{flag} {text}: no such metric; write one of {', '.join(KNOWN)}, then = and a number")
            try:
                found.append(Limit(metric, float(number), at_least))
            except ValueError:
                raise DataError(f"{flag} {text}: write METRIC=VALUE with a number, such as {metric}=0.8") from None
    return found


def _beside(args: argparse.Namespace, given: Path | None, ending: str) -> Path:
    first = args.labels[0]
    if given is not None:
        return given
    if first == sources.STANDARD_INPUT:
        raise DataError("standard input has no name for the report and the verdicts; name them with --out and --store")
    return Path(first).with_name(f"{sources.stem(first)}{ending}")


async def _judged(args: argparse.Namespace, labels: Labels, store: Path) -> list[Asked]:
    """Asks the judges one after the other. A mode that one of several lacks is named and left out."""
    arms = _arms(args)
    prices = prices_of(args, list(dict.fromkeys(arm.priced for arm in arms)))
    found: list[tuple[_Arm, Judged, Spent]] = []
    lacking: list[InvalidRequest] = []
    with progress(len(arms) * sum(len(one.criteria) for one in labels.items), args.quiet) as told:
        for arm in arms:
            async with JudgeClient(arm.url, token=os.environ.get(args.token_env) or None) as client:
                began_s = time.monotonic()
                try:
                    judged = await judge_labels(client, labels, options=arm.options, store=store, progress=told)
                    found.append((arm, judged, _spent(client, time.monotonic() - began_s, *prices[arm.priced])))
                except InvalidRequest as error:
                    lacking.append(error)
                    print(f"rubricd: {_name(arm, arms)}: {error}", file=sys.stderr)
    if not found:
        raise lacking[0]
    return [Asked(_name(arm, arms), judged, spent) for arm, judged, spent in found]


def _spent(client: JudgeClient, seconds: float, price_in: float | None, price_out: float | None) -> Spent:
    """What this client's answers took."""
    used = client.usage
    criteria = used.judgements + used.cache_hits + used.deduplicated
    return Spent(
        criteria,
        seconds if criteria else 0.0,
        used.judgements,
        used.cache_hits,
        used.prompt_tokens,
        used.completion_tokens,
        price_in,
        price_out,
    )


def _arms(args: argparse.Namespace) -> list[_Arm]:
    """Every judge in every mode, layout, batch and prompt that was asked for. One mode and layout has prompts to
    choose, and one mode has batches. Raises ValueError for a batch without that mode."""
    if args.batch and "reasoned" not in (args.mode or ()):
        raise ValueError("--batch is about --mode reasoned: name that mode, or leave it out")
    found = []
    judges = args.url or [_DEFAULT_URL], args.judge or [None]
    for url, name, mode, layout in dict.fromkeys(
        product(*judges, args.mode or ["verdict"], args.layout or ["rubricd"])
    ):
        common: ScoreOptions = {"mode": mode, "layout": layout, "threshold": args.threshold, **judge_option(name)}
        if mode == "reasoned":
            common["votes"] = args.votes
            for batch in dict.fromkeys(args.batch or ["one"]):
                found.append(_Arm(url, {**common, "batch": "all"} if batch == "all" else common))
            continue
        if (mode, layout) != ("verdict", "rubricd") or not args.judge_prompt:
            found.append(_Arm(url, common))
            continue
        for prompt in dict.fromkeys(args.judge_prompt):
            found.append(_Arm(url, {**common, "judge_prompt": prompt}))
    return found


def _name(arm: _Arm, arms: Sequence[_Arm]) -> str:
    """What tells the judge from the others of the run; its name or else its mode where nothing does."""
    ways = [_way(one) for one in arms]
    told = [own for own, others in zip(_way(arm), zip(*ways, strict=True), strict=True) if len(set(others)) > 1]
    return " ".join(filter(None, told)) or arm.options.get("judge") or str(arm.options["mode"])


def _way(arm: _Arm) -> tuple[str, str, str, str, str, str]:
    address = arm.url.removeprefix("http://").removeprefix("https://")
    asked = arm.options
    batch = "" if asked.get("batch") is None else "in one document"
    return address, asked.get("judge") or "", asked["mode"], asked["layout"], asked.get("judge_prompt") or "", batch
