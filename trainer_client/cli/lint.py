"""Runs `rubricd lint FILE`: it asks the service what a person should look at in the rubrics of a file.

Guarantees: nothing is judged. Equal rubrics are asked about once. Every finding names file, row and criterion, the
rule's code, and what to change.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from trainer_client import wire
from trainer_client.cli.service_arguments import add_service, aggregation, explained
from trainer_client.client import JudgeClient
from trainer_client.data import notes, reader
from trainer_client.data.files import sources
from trainer_client.data.formats import harbor
from trainer_client.data.reader import Law
from trainer_client.data.records import RowError
from trainer_client.data.rows import placed_rows
from trainer_client.errors import DataError, InvalidRequest, RubricdClientError

DESCRIPTION = (
    "Find in the rubrics of a file what a person should look at, without judging anything (docs/guide/lint.md). Exit "
    "code: 0 without an error, 1 where a rubric has one, 2 for misuse."
)
_TOLD_EVERY = 1000
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Placed:
    """A rubric, the place where it first stands, and how many more rows have it."""

    rubric: wire.Rubric
    place: str
    id: str
    more: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=f"rows in {sources.KINDS} (also .gz), a folder of them, or a Harbor judge file (.toml)",
    )
    add_service(parser)
    names = get_args(wire.AggregationName)
    add(
        "--aggregation",
        default="healthbench",
        type=aggregation,
        metavar="NAME|JSON",
        help=f"what the scores will be computed by: {', '.join(names)}, or an object with options (%(default)s)",
    )
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    add("--json", action="store_true", help="print a line of JSON for each finding")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 without an error among the findings, 1 with one, 2 for misuse, 130 for an interrupt."""
    try:
        placed = list(_distinct(args.files, Law(pitfalls=args.pitfalls, say=notes.once())))
        found = asyncio.run(_found(args, [one.rubric for one in placed]))
    except KeyboardInterrupt:
        return 130
    except RubricdClientError as error:
        print(f"rubricd: {explained(error, args.token_env)}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"rubricd: {error}", file=sys.stderr)
        return 2
    counts: Counter[tuple[str, str]] = Counter()
    for one, findings in zip(placed, found, strict=True):
        for finding in findings:
            counts[finding.severity, finding.code] += 1
            print(_json(one, finding) if args.json else _line(one, finding))
    print(_summary(placed, counts), file=sys.stderr if args.json else sys.stdout)
    return 1 if any(severity == "error" for severity, _ in counts) else 0


def _distinct(files: Sequence[Path], law: Law) -> Iterator[Placed]:
    """The rubrics of all files, each once. Raises DataError, also for a row without a rubric."""
    seen: dict[str, Placed] = {}
    for place, id, rubric in _rubrics(files, law):
        key = rubric.model_dump_json(by_alias=True)
        first = seen.get(key)
        seen[key] = (
            Placed(rubric, place, id, 0)
            if first is None
            else Placed(first.rubric, first.place, first.id, first.more + 1)
        )
    if not seen:
        raise DataError(f"{', '.join(map(str, files))}: holds no rows")
    yield from seen.values()


def _rubrics(files: Sequence[Path], law: Law) -> Iterator[tuple[str, str, wire.Rubric]]:
    for file in files:
        if file.suffix == ".toml":
            try:
                row = reader.for_training({"prompt": "", "rubric": harbor.rubric(file)}, law).item
            except RowError as error:
                raise DataError(f"{file}: {error}") from None
            assert row.rubric is not None, "a judge file without criteria is refused"
            yield str(file), file.stem, row.rubric
            continue
        for place, one in placed_rows(file, law=law):
            if one.rubric is None:
                raise DataError(f"{place}: no `rubric`; give the row one, or leave it out")
            yield place, one.id, one.rubric


async def _found(args: argparse.Namespace, rubrics: Sequence[wire.Rubric]) -> list[list[wire.Finding]]:
    done = 0

    async def one(rubric: wire.Rubric) -> list[wire.Finding]:
        nonlocal done
        try:
            findings = (await client.lint(rubric, aggregation=args.aggregation)).findings
        except InvalidRequest as error:  # the service would refuse to score by this rubric, too
            findings = [wire.Finding(code=error.code, severity="error", criterion=None, message=str(error))]
        done += 1
        if done % _TOLD_EVERY == 0:
            print(f"rubricd: {done:,} of {len(rubrics):,} rubrics", file=sys.stderr)
        return findings

    client = JudgeClient(args.url, token=os.environ.get(args.token_env) or None, concurrency=args.concurrency)
    async with client:
        return list(await asyncio.gather(*map(one, rubrics)))


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


def _summary(placed: Sequence[Placed], counts: Counter[tuple[str, str]]) -> str:
    criteria = sum(len(one.rubric.criteria) for one in placed)
    rows = sum(1 + one.more for one in placed)
    parts = [f"{rows:,} rows, {len(placed):,} distinct rubrics, {criteria:,} criteria"]
    for severity in ("error", "warning"):
        codes = [(code, count) for (own, code), count in counts.most_common() if own == severity]
        total = sum(count for _, count in codes)
        names = f" ({', '.join(f'{count:,} {code}' for code, count in codes)})" if codes else ""
        parts.append(f"{total:,} {severity}{'' if total == 1 else 's'}{names}")
    return "; ".join(parts)
