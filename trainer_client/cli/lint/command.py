"""Runs `rubricd lint FILE`: finds what a person should look at in the rubrics of a file, and fixes what is mechanical.

Guarantees: nothing is judged unless a judge is named. Every finding names file, row and criterion, the rule's code, why
it is there and what to do.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from trainer_client import wire
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import CANNOT_GO_ON, ended
from trainer_client.cli.lint import asking, files
from trainer_client.cli.lint.files import FixedRow, Placed
from trainer_client.cli.progress import progress
from trainer_client.cli.service_arguments import add_judge_name, aggregation, count
from trainer_client.client import JudgeClient
from trainer_client.data import notes
from trainer_client.data.files import sources, written
from trainer_client.data.reader import Law
from trainer_client.errors import DataError
from trainer_client.lint.rules import lint
from trainer_client.rubric_folder import RubricFolder

DESCRIPTION = (
    "Find in the rubrics of a file what a person should look at (docs/guide/lint.md). Exit code: 0 without a finding "
    "that --fail-on names, 1 with one, 2 for misuse."
)
_SHOWN = 60
_LONG = 2_000
"""So many rubrics take some seconds, and progress is shown."""
_Counts = Counter[tuple[str, str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=f"rows or rubrics in {sources.KINDS} (also .gz), a folder of them, a Harbor judge file (.toml), or - for "
        "lines of JSON on standard input",
    )
    names = get_args(wire.AggregationName)
    add(
        "--aggregation",
        default="healthbench",
        type=aggregation,
        metavar="NAME|JSON",
        help=f"what the scores will be computed by: {', '.join(names)}, or an object with options (%(default)s)",
    )
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    add("--rubric-folder", type=Path, metavar="FOLDER", help="criteria of rubrics that rows name by their `ref`")
    add("--json", action="store_true", help="print a line of JSON for each finding")
    add(
        "--fail-on",
        choices=("error", "warning", "never"),
        default="error",
        help="which findings make the exit code 1 (%(default)s; a warning includes an error)",
    )
    fix = parser.add_argument_group("fixing").add_argument
    fix("--fix", action="store_true", help="fix what is mechanical, and look at the rows as they are then")
    fix("--out", type=new_file, metavar="FILE", help="where the fixed rows are written")
    fix("--in-place", action="store_true", help="write them into FILE itself")
    judge = parser.add_argument_group("a judge, which is asked which criteria are the same or exclude each other")
    judge.add_argument("--url", metavar="URL", help="address of the judge service (none is asked)")
    add_judge_name(judge)
    judge.add_argument("--token-env", default="RUBRICD_KEY", metavar="NAME", help="environment variable with its key")
    judge.add_argument("--concurrency", type=count, default=8, metavar="N", help="requests at the same time")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 without a finding that --fail-on names, 1 with one, 2 for misuse, 130 for an interrupt."""
    try:
        placed = _placed(args)
        options = {"aggregation": _aggregation(args.aggregation)}
        with progress(len(placed), len(placed) < _LONG, "rows") as moved:
            found = [_found(one, options, moved) for one in placed]
        if args.url is not None:
            found = asyncio.run(_with_judge(args, placed, found))
    except CANNOT_GO_ON as error:
        return ended(error, args, resumed="")
    counts: _Counts = Counter()
    for one, findings in zip(placed, found, strict=True):
        for finding in findings:
            counts[finding.severity, finding.code] += 1
            print(_json(one, finding) if args.json else _line(one, finding))
    print(_summary(placed, counts), file=sys.stderr if args.json else sys.stdout)
    return 1 if any(_fails(severity, args.fail_on) for severity, _ in counts) else 0


def _found(one: Placed, options: Any, moved: Callable[[int], None]) -> list[wire.Finding]:
    findings = lint(one.rubric, reference=one.reference, **options)
    moved(1)
    return findings


def _fails(severity: str, fail_on: str) -> bool:
    return severity == "error" if fail_on == "error" else fail_on == "warning"


def _aggregation(given: Any) -> wire.Aggregation:
    return wire.LintRequest.model_validate({"rubric": [{"text": "t", "points": 1}], "aggregation": given}).aggregation


def _placed(args: argparse.Namespace) -> list[Placed]:
    stored = None if args.rubric_folder is None else RubricFolder(args.rubric_folder).get
    law = Law(pitfalls=args.pitfalls, stored=stored, say=notes.once())
    out = _out(args)
    if out is None:
        placed = files.distinct(files.raw_rows(args.files), law)
    else:
        rows = files.fixed_rows(args.files[0])
        placed = files.distinct(iter([(one.place, one.row) for one in rows]), law)
        files.write(out, rows, like=args.files[0])
        _tell_fixes(rows, out)
    if not placed:
        raise DataError(f"{', '.join(map(str, args.files))}: holds no rows")
    return placed


def _out(args: argparse.Namespace) -> Path | None:
    """The file for fixed rows; None where nothing is fixed. Raises ValueError for arguments that do not fit."""
    if not args.fix:
        if args.out is not None or args.in_place:
            raise ValueError("--out and --in-place say where fixed rows go; give --fix, too")
        return None
    if (args.out is None) == (not args.in_place):
        raise ValueError("--fix needs --out FILE, or --in-place to write into the file itself")
    if len(args.files) != 1 or args.files[0].is_dir() or args.files[0].suffix == ".toml":
        raise ValueError("--fix fixes one file of rows; name one")
    if args.in_place and str(args.files[0]) == sources.STANDARD_INPUT:
        raise ValueError("standard input cannot be written into; give --out FILE")
    out: Path = args.files[0] if args.in_place else args.out
    written.check_name(out)
    return out


def _tell_fixes(rows: Sequence[FixedRow], out: Path) -> None:
    counts = Counter(fix.code for one in rows for fix in one.fixes)
    for one in rows:
        for fix in one.fixes:
            print(f"rubricd: {one.place}, criterion {fix.place} (the first is 0): fixed {fix.code}", file=sys.stderr)
    done = ", ".join(f"{number:,} {code}" for code, number in counts.most_common()) or "nothing"
    print(f"rubricd: fixed {done}; wrote {len(rows):,} rows to {out}", file=sys.stderr)


async def _with_judge(
    args: argparse.Namespace, placed: Sequence[Placed], found: Sequence[list[wire.Finding]]
) -> list[list[wire.Finding]]:
    token = os.environ.get(args.token_env) or None
    async with JudgeClient(args.url, token=token, concurrency=args.concurrency) as client:
        rubrics = [one.rubric for one in placed]
        asked = await asking.ask(client, rubrics, found, judge=args.judge, quiet=args.json)
    undecided = f", {asked.undecided:,} of them not decided" if asked.undecided else ""
    print(f"rubricd: judge {asked.judge} was asked about {asked.pairs:,} pairs of criteria{undecided}", file=sys.stderr)
    return [[*own, *more] for own, more in zip(found, asked.findings, strict=True)]


def _line(one: Placed, finding: wire.Finding) -> str:
    more = f" and {one.more:,} more rows" if one.more else ""
    text = _text(one.rubric, finding.criterion)
    which = "" if finding.criterion is None else f", criterion {finding.criterion} ({_cut(text)})"
    return f"{one.place}{more}{which}: {finding.severity} {finding.code}: {finding.message}"


def _json(one: Placed, finding: wire.Finding) -> str:
    line: Mapping[str, Any] = {
        "place": one.place,
        "id": one.id,
        "more_rows": one.more,
        **finding.model_dump(),
        "text": _text(one.rubric, finding.criterion),
    }
    return json.dumps(line, ensure_ascii=False)


def _text(rubric: wire.Rubric, id: str | None) -> str | None:
    """The criterion's text; None for a finding about the whole rubric."""
    return next(
        (one.text for own, one in zip(rubric.ids(), rubric.criteria, strict=True) if own == id and id is not None), None
    )


def _cut(text: str | None) -> str:
    flat = " ".join((text or "").split())
    return flat if len(flat) <= _SHOWN else f"{flat[:_SHOWN]}…"


def _summary(placed: Sequence[Placed], counts: _Counts) -> str:
    criteria = sum(len(one.rubric.criteria) for one in placed)
    rows = sum(1 + one.more for one in placed)
    parts = [f"{rows:,} rows, {len(placed):,} distinct rubrics, {criteria:,} criteria"]
    for severity in ("error", "warning"):
        codes = [(code, number) for (own, code), number in counts.most_common() if own == severity]
        total = sum(number for _, number in codes)
        names = f" ({', '.join(f'{number:,} {code}' for code, number in codes)})" if codes else ""
        parts.append(f"{total:,} {severity}{'' if total == 1 else 's'}{names}")
    return "; ".join(parts)
