"""Runs `rubricd generate ROWS --out FILE`: a chat model writes a rubric for each row, as the papers do.

Guarantees: rows, templates and places are checked before anything is asked. Answers are kept as they come, so that the
same command goes on after it was killed and pays for none of them twice. The output is there whole or not at all.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from trainer_client import wire
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import sentence_of
from trainer_client.cli.endpoint_arguments import add_endpoint, endpoint_error, log_path, open_endpoint, sampling
from trainer_client.cli.progress import progress
from trainer_client.cli.service_arguments import add_judge_name, count, explained, judge_option
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.data import notes
from trainer_client.data.files import sources
from trainer_client.data.reader import Law
from trainer_client.endpoint import AnswerLog
from trainer_client.errors import DataError, RubricdClientError
from trainer_client.generation import templates
from trainer_client.generation.consistency import Preference, preference
from trainer_client.generation.page import Examples, page
from trainer_client.generation.rows import Source, read_sources
from trainer_client.generation.run import outcomes, row_of
from trainer_client.generation.shapes import form_of
from trainer_client.generation.tally import Tally
from trainer_client.generation.templates import Template, UseOfReference
from trainer_client.generation.writing import Orders
from trainer_client.lint.rules import lint
from trainer_client.whole_file import write_whole

DESCRIPTION = (
    "Write a rubric for each row with a chat model: as Rubrics as Rewards, RuscaRL or OpenRubrics do, or from a "
    "guideline (docs/guide/generate.md). Exit code: 0 every rubric is written or was dropped by the filter, 1 a row "
    "failed or a rubric has an error, 2 wrong use or nobody to ask, 130 interrupted."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="+", metavar="ROWS", help=f"rows with prompts, in {sources.KINDS}")
    add("--out", required=True, type=new_file, metavar="FILE", help="the rows with their rubrics (.jsonl)")
    add(
        "--template",
        default="rar-medicine",
        metavar="NAME|FILE",
        help=f"{', '.join(templates.names())}, or a .toml file of yours (%(default)s)",
    )
    add("--reference", choices=get_args(UseOfReference), help="what to do with references (the template's own way)")
    add("--guideline", type=Path, metavar="FILE", help="text from which `--template guideline` takes its criteria")
    add("--attempts", type=count, default=3, metavar="N", help="drafts to ask for until one can be read (%(default)s)")
    add(
        "--lint-rounds", type=_rounds, default=2, metavar="N", help="times that findings go back, at most (%(default)s)"
    )
    add("--seed", type=int, default=0, metavar="N", help="of the generator (%(default)s)")
    add("--limit", type=count, metavar="N", help="take the first N rows")
    add("--force", action="store_true", help="overwrite FILE")
    add("--json", type=new_file, metavar="FILE", help="write a summary as JSON, too")
    add("--quiet", action="store_true", help="show no progress")
    add_endpoint(parser)
    group = parser.add_argument_group("the judge service, which prefers answers (--template contrastive)")
    group.add_argument("--url", metavar="URL", help="its address")
    add_judge_name(group)
    group.add_argument(
        "--token-env", default="RUBRICD_KEY", metavar="NAME", help="environment variable with its key (%(default)s)"
    )
    group.add_argument("--mode", default="verdict", choices=("verdict", "reasoned"), help="judging mode (%(default)s)")
    group.add_argument("--soft", action="store_true", help="prefer by P(met) instead of 0 and 1")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is checked before anything is asked."""

    template: Template
    orders: Orders
    rows: Sequence[Source]
    log: AnswerLog


def run(args: argparse.Namespace) -> int:
    """The exit code."""
    started = time.monotonic()
    try:
        plan = _plan(args)
        with plan.log:
            tally, spending = asyncio.run(_generated(args, plan))
    except KeyboardInterrupt:
        print("rubricd: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except (DataError, ValueError, OSError) as error:
        print(f"rubricd: {sentence_of(error)}", file=sys.stderr)
        return 2
    except _NobodyToAsk as error:
        print(f"rubricd: {error}; the same command goes on from here", file=sys.stderr)
        return 2
    print(f"rubricd: {tally}")
    for why, times in tally.whys.most_common(3):
        print(f"rubricd: {times:,} times: {why}", file=sys.stderr)
    print(f"rubricd: {spending}; {time.monotonic() - started:.1f} s; wrote {args.out} and {_report(args.out)}")
    return 0 if tally.complete else 1


class _NobodyToAsk(Exception):
    """The endpoint or the service cannot be asked; the message says which."""


def _plan(args: argparse.Namespace) -> _Plan:
    template = templates.load(args.template)
    guideline = _guideline(args, template)
    if template.shape == "text":
        raise DataError(f"{args.template} asks for a text; a template for rubrics has another `shape`")
    if template.pair is (args.url is None):
        wanted = (
            "asks a judge which answer it prefers; name the service with"
            if template.pair
            else "asks no judge; leave out"
        )
        raise DataError(f"--template {args.template} {wanted} --url")
    if args.out.suffix != ".jsonl":
        raise DataError(f"{args.out}: name a file that ends in .jsonl")
    if args.out.exists() and not args.force:
        raise DataError(f"{args.out} exists; name another file with --out, or overwrite it with --force")
    # A rubric that a row has already is not read, so that nobody need say what its pitfalls mean.
    law = Law(pitfalls="met_is_bad", say=notes.once())
    rows = read_sources(args.files, pairs=template.pair, most=args.limit, law=law)
    orders = Orders(
        template=template,
        answer_template=templates.load("answer"),
        reference=args.reference or template.reference,
        form=form_of(template),
        lint=partial(_linted, template),
        guideline=guideline,
        attempts=args.attempts,
        rounds=args.lint_rounds,
        seed=args.seed,
        sampling=sampling(args),
    )
    return _Plan(template, orders, rows, AnswerLog(log_path(args.out)))


def _linted(template: Template, rubric: wire.Rubric, reference: str | None) -> Sequence[wire.Finding]:
    """The findings, as the rubric will be weighed."""
    return lint(rubric, "rar_explicit" if template.shape == "categories" else "healthbench", reference)


def _guideline(args: argparse.Namespace, template: Template) -> str | None:
    if template.guideline is (args.guideline is None):
        wanted = "needs --guideline FILE" if template.guideline else "reads no guideline; leave --guideline out"
        raise DataError(f"--template {args.template} {wanted}")
    if args.guideline is None:
        return None
    try:
        text: str = args.guideline.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{args.guideline} is not text in UTF-8") from None
    if not wire.says_something(text):
        raise DataError(f"{args.guideline} holds no text")
    return text


async def _generated(args: argparse.Namespace, plan: _Plan) -> tuple[Tally, Any]:
    """Writes all rows, the report and the summary. Raises _NobodyToAsk."""
    tally, examples = Tally(), Examples()
    partial = args.out.with_name(f"{args.out.name}.partial")
    async with AsyncExitStack() as stack:
        endpoint = await stack.enter_async_context(open_endpoint(args, plan.log))
        service, toy = await _service(args, stack)
        prefer = None if service is None else _preferring(service, args)
        told = stack.enter_context(progress(len(plan.rows), args.quiet, "rows", lambda: str(endpoint.spending)))
        found = outcomes(endpoint, plan.rows, plan.orders, prefer, 2 * args.model_concurrency)
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                async for outcome in found:
                    tally.add(outcome)
                    examples.add(outcome)
                    if outcome.state == "written":
                        row = row_of(outcome, plan.template, args.seed)
                        file.write(json.dumps(row, ensure_ascii=True) + "\n")
                    told(1)
        except RubricdClientError as error:
            raise _NobodyToAsk(endpoint_error(error, args)) from None
        finally:
            await found.aclose()
    partial.replace(args.out)
    spending = endpoint.spending
    title = _subtitle(args, plan, toy)
    html = page(tally, examples, plan.template, title, spending.as_json())
    write_whole(_report(args.out), html)
    if args.json is not None:
        summary = {"template": plan.template.version_name, "model": args.model, "seed": args.seed, **tally.as_json()}
        used = None if service is None else dict(service.usage.items())
        written = {**summary, "spending": spending.as_json(), "judge_usage": used}
        write_whole(args.json, json.dumps(written, indent=1))
    return tally, spending


async def _service(args: argparse.Namespace, stack: AsyncExitStack) -> tuple[JudgeClient | None, str]:
    """The service, if it is named, and what is to be said where its judge is a toy."""
    if args.url is None:
        return None, ""
    client = JudgeClient(args.url, token=os.environ.get(args.token_env) or None)
    await stack.enter_async_context(client)
    try:
        judge = await client.judge(args.judge)
    except RubricdClientError as error:
        raise _NobodyToAsk(explained(error, args.token_env)) from None
    if not judge.toy:
        return client, ""
    toy = f"judge {judge.model} is a toy: believe none of its preferences"
    print(f"rubricd: {toy}", file=sys.stderr)
    return client, f"; {toy}"


def _preferring(client: JudgeClient, args: argparse.Namespace) -> Any:
    options: ScoreOptions = {"mode": args.mode, "soft": args.soft, **judge_option(args.judge)}

    async def prefer(source: Source, rubric: wire.Rubric) -> Preference:
        try:
            return await preference(client, source, rubric, options)
        except RubricdClientError as error:
            raise _NobodyToAsk(explained(error, args.token_env)) from None

    return prefer


def _subtitle(args: argparse.Namespace, plan: _Plan, toy: str) -> str:
    files = ", ".join(Path(file).name for file in args.files)
    return f"{files}, written by {args.model} from {plan.template.source}{toy}; seed {args.seed}."


def _report(out: Path) -> Path:
    return out.with_name(f"{sources.stem(out)}.generate.html")


def _rounds(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number
