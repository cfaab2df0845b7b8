"""Runs `rubricd score FILE`: it scores every response in a file and writes one line of results for each.

Guarantees: nothing is sent before the whole file has been read. A file is overwritten with `--force` only. Every result
is in the results file, in the order of the input, also after an interrupt; `--resume` scores the rest.
"""

import argparse
import asyncio
import math
import os
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from trainer_client import wire
from trainer_client.cli import results_file
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import sentence_of
from trainer_client.cli.progress import progress
from trainer_client.cli.score_summary import about_reasoning, cost, doubts, first_of_each, summary, write_summary
from trainer_client.cli.service_arguments import JUDGE, add_service, aggregation, count, explained
from trainer_client.client import ClientUsage, Failed, JudgeClient, Outcome, RetryPolicy, reward
from trainer_client.data import notes
from trainer_client.data.files import sources
from trainer_client.data.items import read_items
from trainer_client.data.joined import Rubrics
from trainer_client.data.reader import Law
from trainer_client.errors import DataError, RubricdClientError
from trainer_client.rubric_folder import RubricFolder

_OPTIONS = (
    "mode",
    "aggregation",
    "layout",
    "judge_prompt",
    "consistency",
    "votes",
    "batch",
    "rating_norm",
    "soft",
    "threshold",
    "min_coverage",
    "unjudged",
    "reasoning",
    "priority",
    "cache",
    "judge",
    "expect_judge",
)
_EXAMPLE = '{"name": "rar_explicit", "category_weights": {"pitfall": 0.8}}'
DESCRIPTION = "Score every response in a file by a judge service: writes a line of results for each, then a table."
RETRIES = RetryPolicy(attempts=8, burst=64.0)
"""What a file needs in a rolling restart of its judges behind a balancer that notices it ten seconds late."""
_RATING_NORM = wire.ScoreRequest.model_fields["rating_norm"].default


class _Misuse(Exception):
    """The command was used wrongly; nothing has been sent."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=f"rows in {sources.KINDS} (also .gz), a folder of them, a saved Hugging Face dataset, or - for standard "
        "input; formats: docs/guide/files.md",
    )
    add_service(parser)
    add(
        "--out",
        type=new_file,
        metavar="RESULTS",
        help="results file (beside the first FILE: its stem + .results.jsonl)",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="overwrite the results file")
    existing.add_argument(
        "--resume", action="store_true", help="score only the responses without a result in the results file"
    )
    add("--response-column", metavar="NAME", help="column of the responses (response, responses or completion)")
    add("--rubrics", type=Path, metavar="FILE", help="rubrics for rows without one: their rows, or a Harbor judge.toml")
    add("--rubric-folder", type=Path, metavar="FOLDER", help="criteria of rubrics that rows name by their `ref`")
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    add("--strict", action="store_true", help="refuse columns that are not read, which are else carried as metadata")
    add("--limit", type=count, metavar="N", help="score only the first N items")
    add("--batch-items", type=count, default=32, metavar="N", help="responses in one request (%(default)s)")
    add(
        "--deadline",
        type=_seconds,
        metavar="S",
        help="time for all, in seconds; responses without a result by then have failed",
    )
    add("--json", type=new_file, metavar="FILE", help="write a summary as JSON, too")
    add("--quiet", action="store_true", help="print only the summary, no progress bar and no table")
    _add_options(parser.add_argument_group("options of the scores, as in POST /v1/score"))


def _add_options(group: argparse._ArgumentGroup) -> None:
    fields = wire.ScoreRequest.model_fields

    def add(name: str, about: str, **kind: Any) -> None:
        default = fields[name].default
        text = about if default is None or default is False else f"{about} ({default})"
        group.add_argument(f"--{name.replace('_', '-')}", default=default, help=text, **kind)

    add("mode", "judging mode", choices=get_args(wire.Mode))
    names = get_args(wire.AggregationName)
    about = f"how verdicts become a score: {', '.join(names)}, or an object such as {_EXAMPLE}"
    add("aggregation", about, type=aggregation, metavar="NAME|JSON")
    add("layout", "prompt layout", choices=get_args(wire.Layout))
    add("judge_prompt", "mode verdict: the judge's prompt, one that it serves (its default)", metavar="NAME")
    add("consistency", "2: ask also whether each criterion is false", type=int, choices=(1, 2))
    add("votes", "mode reasoned: independent samples for each criterion", type=int, metavar="N")
    add("batch", "mode reasoned: all criteria of a response in one document", choices=get_args(wire.Batch))
    add("rating_norm", "rating modes: how 1..10 becomes the score", choices=get_args(wire.RatingNorm))
    add("soft", "aggregate P(met) instead of 0 and 1", action="store_true")
    add("threshold", "P(met) at or above which a criterion is met", type=float, metavar="P")
    add("min_coverage", "share of |points| that must be judged for a score", type=float, metavar="P")
    add("unjudged", "score where some but enough was judged: a bound or none", choices=get_args(wire.Unjudged))
    add(
        "reasoning",
        "reasoning in a response: keep, remove, or the tags to remove, as OPEN...CLOSE",
        type=_reasoning,
        metavar="HOW",
    )
    add("priority", "scheduling class", choices=get_args(wire.Priority))
    add("cache", "refresh: judge again; bypass: judge again and keep no verdict", choices=get_args(wire.CacheUse))
    add("judge", JUDGE, metavar="NAME")
    add("expect_judge", "refuse results of any other judge", metavar="FINGERPRINT")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 if every response has a score, 1 if some have none, 2 for misuse, 130 for an interrupt."""
    started = time.monotonic()
    try:
        items, out = _prepared(args)
        options = {**_options(args), "expect_judge": None}
        del options["cache"]  # a file may be continued with another
        if options["rating_norm"] == _RATING_NORM:
            del options["rating_norm"]  # files of older versions, which had no other, are continued
        work = results_file.open_work(items, out, options, resume=args.resume)
        outcomes, used = asyncio.run(_scored(args, work)) if work.items else ([], ClientUsage())
    except KeyboardInterrupt:
        print("rubricd: interrupted; the results until now are in the results file", file=sys.stderr)
        return 130
    except (DataError, _Misuse, OSError) as error:
        print(f"rubricd: {sentence_of(error)}", file=sys.stderr)
        return 2
    if outcomes and not args.quiet:
        from trainer_client.cli import table

        table.show(list(work.items.values()), outcomes)
    took_s = time.monotonic() - started
    if args.json is not None:
        try:
            write_summary(args.json, outcomes, used, out, took_s)
        except OSError as error:
            print(f"rubricd: {sentence_of(error)}; the results are in {out}", file=sys.stderr)
            return 2
    before = f" and {len(work.kept)} results of an earlier run" if work.kept else ""
    if used.answers and not args.quiet:
        print(cost(used))
    print(f"{summary(outcomes, clips=args.aggregation == 'healthbench')}; {took_s:.1f} s; results{before} in {out}")
    for line in about_reasoning(outcomes):
        print(f"rubricd: {line}", file=sys.stderr)
    for code, first in first_of_each(outcomes).items():
        later = "; --resume scores the rest" if first.retryable else ""
        print(f"rubricd: the first {code}: {explained(first, args.token_env)}{later}", file=sys.stderr)
    return 0 if work.all_kept_scored and all(reward(outcome) is not None for outcome in outcomes) else 1


def _prepared(args: argparse.Namespace) -> tuple[list[wire.Item], Path]:
    """The items, all of them valid as one request, and the path of the results."""
    out = _out(args)
    if out.exists() and not (args.force or args.resume):
        raise _Misuse(
            f"{out} exists; name another file with --out, continue it with --resume, or overwrite it with --force"
        )
    join = None if args.rubrics is None else Rubrics(args.rubrics, Law(pitfalls=args.pitfalls)).joined
    stored = None if args.rubric_folder is None else RubricFolder(args.rubric_folder).get
    law = Law(args.pitfalls, args.response_column, args.strict, join, stored, refs=True, say=notes.once())
    items = list(islice(read_items(*args.files, law=law), args.limit))
    name = ", ".join(map(str, args.files))
    if not items:
        raise DataError(f"{name}: holds no items")
    bare = next((index for index, item in enumerate(items) if item.rubric is None), None)
    if bare is not None and args.mode != "likert":
        raise DataError(f"{name}, item {bare} (the first is 0): no `rubric`; mode `{args.mode}` needs one")
    try:
        wire.ScoreRequest.model_validate({"items": items, **_options(args)})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        problem = first["msg"].removeprefix("Value error, ")
        raise _Misuse(f"--{place.replace('_', '-')}: {problem}" if place in _OPTIONS else problem) from None
    return items, out


def _out(args: argparse.Namespace) -> Path:
    first: Path = args.files[0]
    if args.out is None and str(first) == sources.STANDARD_INPUT:
        raise _Misuse("standard input has no name for the results; name their file with --out")
    return args.out or first.with_name(f"{sources.stem(first)}.results.jsonl")


async def _scored(args: argparse.Namespace, work: results_file.Work) -> tuple[list[Outcome], ClientUsage]:
    limits = await _limits(args)
    async with _client(args, RETRIES) as client:
        client.fit(limits)
        failed = 0

        def more() -> str:
            return f"{failed} failed" if failed else ""

        with work.writing() as write, progress(len(work.places), args.quiet, "responses", more) as told:

            def record(place: int, outcome: Outcome) -> None:
                nonlocal failed
                write(place, outcome)
                failed += isinstance(outcome, Failed)
                told(1)

            options = {**_options(args), "expect_judge": args.expect_judge or work.judge}
            items = work.items.values()
            return await client.score(items, deadline_s=args.deadline, on_outcome=record, **options), client.usage


def _client(args: argparse.Namespace, retry: RetryPolicy | None) -> JudgeClient:
    try:
        return JudgeClient(
            args.url,
            token=os.environ.get(args.token_env) or None,
            concurrency=args.concurrency,
            batch_items=args.batch_items,
            retry=retry,
        )
    except ValueError as error:
        raise _Misuse(str(error)) from None


async def _limits(args: argparse.Namespace) -> wire.Limits:
    """The judge's limits, to which the batches are fitted. A wrong address or key, and a mode or layout that this judge
    does not have, are found here, before any work: by a client that gives up soon."""
    try:
        async with _client(args, None) as client:
            info = await client.judge(args.judge)
    except RubricdClientError as error:
        raise _Misuse(f"{explained(error, args.token_env)} [{error.code}]") from None
    for option, wanted, offered in (("mode", args.mode, info.modes), ("layout", args.layout, info.layouts)):
        if wanted not in offered:
            raise _Misuse(f"--{option}: this judge has {', '.join(offered)}, and not {wanted}{_why_not(info, wanted)}")
    for line in doubts(info, args.mode, args.layout, args.batch):
        print(line, file=sys.stderr)
    return info.limits


def _why_not(info: wire.JudgeInfo, mode: str) -> str:
    return next((f" ({one.reason})" for one in info.unserved if (one.mode, one.batch) == (mode, None)), "")


def _options(args: argparse.Namespace) -> Any:
    return {name: getattr(args, name) for name in _OPTIONS}


def _reasoning(text: str) -> Any:
    if text in ("keep", "remove"):
        return text
    tags = text.split("...")
    if len(tags) != 2 or not all(tags):
        raise argparse.ArgumentTypeError("must be keep, remove or OPEN...CLOSE, such as '<think>...</think>'")
    return dict(zip(("open", "close"), tags, strict=True))


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return seconds
