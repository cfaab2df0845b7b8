"""Runs `rubricd audit FILE`: it measures how a judge behaves where its verdicts should not change, and writes a page.

Guarantees: nothing is asked before the whole file has been read. What the judge answered is kept in the audit's folder,
so that the same command goes on after an interrupt. The cache of the service is neither read nor filled.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from trainer_client import wire
from trainer_client.agreement.bootstrap import Figure
from trainer_client.agreement.shown import text
from trainer_client.audit.askings import Asking, Rows, audit_rows
from trainer_client.audit.audit import Audit, as_json, audit, checks_in
from trainer_client.audit.checks import askings_of
from trainer_client.audit.collection import Answers, collect
from trainer_client.audit.page import page
from trainer_client.audit.rivals import rivals
from trainer_client.cli import audit_pairs
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import CANNOT_GO_ON, ended
from trainer_client.cli.progress import progress
from trainer_client.cli.service_arguments import add_judge_name, judge_option
from trainer_client.client import JudgeClient
from trainer_client.data import notes
from trainer_client.data.files import sources
from trainer_client.data.items import read_items
from trainer_client.data.reader import Law
from trainer_client.errors import DataError
from trainer_client.labels import read_labels
from trainer_client.whole_file import write_whole

DESCRIPTION = (
    "Measure how a judge behaves where its verdicts should not change (repeats, order, wording, negation, length, "
    "format), and on answers without content. Exit code: 0 no check failed, 1 a check failed, 2 wrong use."
)
_RATING_MODES = ("implicit", "likert")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help=f"responses with rubrics: rows in {sources.KINDS}, as `rubricd score`")
    add("--url", default="http://127.0.0.1:8000", metavar="URL", help="address of the judge service (%(default)s)")
    add_judge_name(parser)
    add("--token-env", default="RUBRICD_KEY", metavar="NAME", help="environment variable with the key (%(default)s)")
    add("--mode", default="verdict", choices=get_args(wire.Mode), help="judging mode (%(default)s)")
    add("--layout", default="rubricd", choices=get_args(wire.Layout), help="prompt layout (%(default)s)")
    batches = "mode reasoned: one criterion a document (one), or all of a response (all)"
    add("--batch", choices=("one", "all"), help=batches)
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    add(
        "--against",
        metavar="FILE",
        help="labelled answers of another policy to the same prompts; FILE then needs labels, too (docs/guide/"
        "judge-quality.md)",
    )
    add(
        "--pairwise",
        action="store_true",
        help="FILE is a run, or FILE FILE are two logs of answers to the same prompts: does a judge without the rubric "
        "prefer the later answers?",
    )
    add("--steps", default=10, type=_count, metavar="N", help="--pairwise: first and last N steps (%(default)s)")
    add("--rows", default=50, type=_count, metavar="N", help="how many responses, from as many prompts (%(default)s)")
    add("--out", type=Path, metavar="FOLDER", help="the audit's folder (beside the first FILE: its stem + .audit)")
    add("--json", type=new_file, metavar="FILE", help="write the findings as JSON, too")
    add("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 if no check failed, 1 if one did, 2 for misuse, 130 for an interrupt."""
    if args.pairwise:
        return audit_pairs.run(args)
    try:
        if args.batch is not None and args.mode != "reasoned":
            raise DataError("--batch is about --mode reasoned: name that mode, or leave it out")
        out = _out(args)
        chosen = _rows(args)
        out.mkdir(parents=True, exist_ok=True)
        done = asyncio.run(_audited(args, chosen, out))
        write_whole(out / "report.html", page(done))
        if args.json is not None:
            write_whole(args.json, json.dumps(as_json(done), indent=1))
    except CANNOT_GO_ON as error:
        return ended(error, args)
    for line in lines(done):
        print(line)
    print(f"rubricd: {done.verdict}; report {out / 'report.html'}")
    return 1 if done.verdict == "fail" else 0


def _out(args: argparse.Namespace) -> Path:
    if args.out is None and args.files[0] == sources.STANDARD_INPUT:
        raise DataError("standard input has no name for the audit's folder; name it with --out")
    first = Path(args.files[0])
    out: Path = args.out or first.with_name(f"{sources.stem(first)}.audit")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; name a folder with --out")
    return out


def _rows(args: argparse.Namespace) -> Rows:
    law = Law(pitfalls=args.pitfalls, say=notes.once())
    pairs = None
    if args.against is None:
        items = list(read_items(*args.files, law=law))
    else:
        own = read_labels(args.files, law=law)
        items = [one.item for one in own.items]
        pairs = rivals(own, read_labels([args.against], law=law))
    name = ", ".join(args.files)
    bare = next((place for place, item in enumerate(items) if item.rubric is None), None)
    if bare is not None and args.mode != "likert":
        raise DataError(f"{name}, item {bare} (the first is 0): no `rubric`; mode `{args.mode}` needs one")
    rates, together = args.mode in _RATING_MODES, args.batch == "all"
    chosen = audit_rows(items, args.rows, rates=rates, together=together, rivals=pairs)
    if not chosen.rows:
        why = ", ".join(f"{count} {reason}" for reason, count in chosen.left_out.items())
        raise DataError(f"{name}: holds no row that can be audited ({why or 'it is empty'})")
    return chosen


async def _audited(args: argparse.Namespace, chosen: Rows, out: Path) -> Audit:
    token = os.environ.get(args.token_env) or None
    async with JudgeClient(args.url, token=token) as client:
        info = await client.judge(args.judge)
        client.fit(info.limits)
        judge = _judge(info, args)
        askings = list(askings_of(checks_in(judge.mode), chosen.rows).values())
        options = {
            "mode": args.mode,
            "layout": args.layout,
            "expect_judge": judge.fingerprint,
            **({} if judge.batch is None else {"batch": judge.batch}),
            **judge_option(args.judge),
        }
        answers = await _collected(args, client, askings, options, out)
    if not answers.by_key and answers.first_error is not None:
        raise answers.first_error
    return audit(judge, chosen, answers.by_key, answers.missing)


def _judge(info: wire.JudgeInfo, args: argparse.Namespace) -> wire.Judge:
    batch = "all" if args.batch == "all" else None
    for judge in info.judges:
        if (judge.mode, judge.layout, judge.batch) == (args.mode, args.layout, batch):
            return judge
    raise DataError(
        f"this judge offers the modes {', '.join(info.modes)} and the layouts {', '.join(info.layouts)}, not "
        f"{args.mode} in {args.layout}{'' if batch is None else ' with all criteria in one document'}; choose another "
        "--mode, --layout or --batch"
    )


async def _collected(
    args: argparse.Namespace, client: JudgeClient, askings: Sequence[Asking], options: dict[str, Any], out: Path
) -> Answers:
    with progress(len(askings), args.quiet, "questions") as told:
        return await collect(client, askings, options, out / "answers.jsonl", told)


def lines(done: Audit) -> list[str]:
    """A line for each measure: the check, its verdict, the mean, its interval and the limit."""
    found = []
    for finding in done.findings:
        if finding.why_not:
            found.append(f"{finding.check.name:16} {finding.verdict:8} {finding.why_not}")
        for one in finding.estimates:
            figure = Figure(one.mean, one.low, one.high, one.pairs, one.why)
            value = "no value" if one.mean is None else text(figure, width=6)
            limit = {"near zero": "+-", "low": "<=", "high": ">="}[one.measure.good]
            found.append(
                f"{finding.check.name:16} {one.verdict:8} {value} {limit} {one.measure.limit:g}  {one.measure.about}"
            )
    return found


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
