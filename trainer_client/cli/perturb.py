"""Runs `rubricd perturb ROWS --kind KIND --out FILE`: makes the rubrics of rows worse in a known way.

Guarantees: the same rows, kind, seed and share give the same file. What a chat model answers is kept as it comes, so
that the same command goes on after it was killed and pays for no answer twice. The output is there whole or not at all.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from trainer_client import wire
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import sentence_of
from trainer_client.cli.endpoint_arguments import add_endpoint, endpoint_error, log_path, open_endpoint, sampling
from trainer_client.cli.perturb_rows import Source, read_rows, row_of
from trainer_client.cli.progress import progress
from trainer_client.data import notes
from trainer_client.data.files import sources, written
from trainer_client.data.reader import Law
from trainer_client.endpoint import AnswerLog, ChatEndpoint
from trainer_client.errors import DataError, RubricdClientError
from trainer_client.perturbation import paraphrase, rubrics
from trainer_client.perturbation.rubrics import KINDS, SHARE, Perturbed
from trainer_client.whole_file import write_whole

DESCRIPTION = (
    "Make rubrics worse in a known way, or say them in other words, for a study of what noise in rubrics does "
    "(docs/guide/perturb.md). Exit code: 0 done, 1 a criterion could not be paraphrased and is as it was, 2 wrong use "
    "or nobody to ask, 130 interrupted."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="+", metavar="ROWS", help=f"rows with rubrics, in {sources.KINDS}")
    add("--kind", required=True, choices=KINDS, help="what is done to each rubric")
    add(
        "--out",
        required=True,
        type=new_file,
        metavar="FILE",
        help=f"the rows as they are then, in {', '.join(written.KINDS)}",
    )
    add("--seed", type=int, default=0, metavar="N", help="of what is drawn (%(default)s)")
    add(
        "--share",
        type=_share,
        default=SHARE,
        metavar="S",
        help="ambiguous, contradictory, half: criteria added or removed, as a share of those there are (%(default)s)",
    )
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    add("--force", action="store_true", help="overwrite FILE")
    add("--json", type=new_file, metavar="FILE", help="write a summary as JSON, too")
    add("--quiet", action="store_true", help="show no progress")
    add_endpoint(parser, required=False)


@dataclass(frozen=True, slots=True)
class _Done:
    """A row's rubric after its perturbation, and what the row says about it."""

    after: Perturbed
    told: Mapping[str, Any]


def run(args: argparse.Namespace) -> int:
    """The exit code."""
    try:
        _check(args)
        rows = read_rows(args.files, Law(pitfalls=args.pitfalls, say=notes.once()))
        spending: Mapping[str, Any] | None = None
        if args.model is not None:
            done, spending = asyncio.run(_asked(args, rows))
        else:
            done = _computed(args, rows)
        new = [row_of(source, one.after, one.told) for source, one in zip(rows, done, strict=True)]
        like = Path(args.files[0]) if len(args.files) == 1 else None
        written.write_rows(args.out, new, like=like)
        summary = _summary(args, rows, done)
        if args.json is not None:
            write_whole(args.json, json.dumps({**summary, "spending": spending}, indent=1))
    except KeyboardInterrupt:
        print("rubricd: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except RubricdClientError as error:
        again = "" if isinstance(error, DataError) else "; the same command goes on from here"
        print(f"rubricd: {endpoint_error(error, args)}{again}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"rubricd: {sentence_of(error)}", file=sys.stderr)
        return 2
    print(_sentence(args, summary))
    return 1 if summary["not_paraphrased"] else 0


def _check(args: argparse.Namespace) -> None:
    """Raises ValueError for arguments that do not fit together, before anything is read."""
    written.check_name(args.out)
    if args.out.exists() and not args.force:
        raise ValueError(f"{args.out} exists; name another file with --out, or overwrite it with --force")
    if args.model is None and args.model_url is not None:
        raise ValueError("--model-url names an endpoint; name the model there with --model")
    if args.model is not None and args.kind != "paraphrased":
        raise ValueError(f"--kind {args.kind} asks no model; leave --model out")


def _computed(args: argparse.Namespace, rows: Sequence[Source]) -> list[_Done]:
    if args.kind == "shuffled":
        order = rubrics.shuffled([one.rubric for one in rows], seed=args.seed)
        return [_exchanged(args, rows[other]) for other in order]
    found = []
    for one in rows:
        after = rubrics.perturbed(one.rubric, args.kind, seed=args.seed, name=one.name, share=args.share)
        found.append(_Done(after, {**_said(args), **rubrics.told(one.rubric, after)}))
    return found


def _exchanged(args: argparse.Namespace, other: Source) -> _Done:
    criteria = other.rubric.criteria
    after = Perturbed(wire.Rubric(criteria=list(criteria)), (None,) * len(criteria))
    return _Done(after, {**_said(args), "from": other.name})


async def _asked(args: argparse.Namespace, rows: Sequence[Source]) -> tuple[list[_Done], Mapping[str, Any]]:
    """Equal texts are asked about once."""
    texts = dict.fromkeys(one.rubric.criteria[n].judged_text for one in rows for n in rubrics.judged(one.rubric))
    with AnswerLog(log_path(args.out)) as log:
        async with open_endpoint(args, log) as endpoint:
            new = await _paraphrased(args, endpoint, list(texts))
            print(f"rubricd: {endpoint.spending}", file=sys.stderr)
            return [_with_new_texts(args, one, new) for one in rows], endpoint.spending.as_json()


async def _paraphrased(args: argparse.Namespace, endpoint: ChatEndpoint, texts: Sequence[str]) -> dict[str, str]:
    """The new text of each old one for which there is one. After the first error nothing more is asked."""
    limit = asyncio.Semaphore(args.model_concurrency)
    found: dict[str, str] = {}
    with progress(len(texts), args.quiet) as moved:

        async def one(text: str) -> None:
            async with limit:
                new = await _other_words(args, endpoint, text)
            if new is not None:
                found[text] = new
            moved(1)

        tasks = [asyncio.ensure_future(one(text)) for text in texts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
    return found


async def _other_words(args: argparse.Namespace, endpoint: ChatEndpoint, text: str) -> str | None:
    """From the first of a few attempts that gives any."""
    for attempt in range(paraphrase.ATTEMPTS):
        answer = await endpoint.chat(paraphrase.messages(text), seed=args.seed + attempt, **sampling(args))
        new = paraphrase.read(answer.text, text)
        if new is not None:
            return new
    return None


def _with_new_texts(args: argparse.Namespace, one: Source, new: Mapping[str, str]) -> _Done:
    judged = {n: one.rubric.criteria[n].judged_text for n in rubrics.judged(one.rubric)}
    after = rubrics.with_texts(one.rubric, {n: new[text] for n, text in judged.items() if text in new})
    left = [n for n, text in judged.items() if text not in new]
    return _Done(
        after, {**_said(args), **rubrics.told(one.rubric, after), "model": args.model, "not_paraphrased": left}
    )


def _said(args: argparse.Namespace) -> dict[str, Any]:
    return {"kind": args.kind, "seed": args.seed, "share": args.share}


def _summary(args: argparse.Namespace, rows: Sequence[Source], done: Sequence[_Done]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for one in done:
        for name in ("added", "removed", "points", "text", "not_paraphrased"):
            counts[name] += len(one.told.get(name, ()))
    before = sum(len(one.rubric.criteria) for one in rows)
    after = sum(len(one.after.rubric.criteria) for one in done)
    same = sum(source.rubric.criteria == one.after.rubric.criteria for source, one in zip(rows, done, strict=True))
    names = ("added", "removed", "points", "text", "not_paraphrased")
    return {
        **_said(args),
        "rows": len(rows),
        "unchanged_rows": same,
        "criteria_before": before,
        "criteria_after": after,
        **{name: counts[name] for name in names},
    }


def _sentence(args: argparse.Namespace, summary: Mapping[str, Any]) -> str:
    parts = [f"{summary['rows']:,} rows, {summary['unchanged_rows']:,} of them as they were"]
    parts.append(f"{summary['criteria_before']:,} criteria before and {summary['criteria_after']:,} after")
    words = {"added": "added", "removed": "removed", "points": "with other points", "text": "with another text"}
    parts += [f"{summary[name]:,} {about}" for name, about in words.items() if summary[name]]
    if summary["not_paraphrased"]:
        parts.append(f"{summary['not_paraphrased']:,} for which the model gave no other words")
    return f"rubricd: {args.kind}: {'; '.join(parts)}; wrote {args.out}"


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1")
    return share
