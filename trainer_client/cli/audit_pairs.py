"""Runs `rubricd audit --pairwise`: does a judge without the rubric still prefer the trained policy?

Guarantees: nothing is asked before the logs have been read. Answers are kept in the audit's folder, so that the same
command goes on after an interrupt.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

from trainer_client.agreement.bootstrap import Figure
from trainer_client.agreement.shown import text
from trainer_client.alignment.answers import open_store
from trainer_client.alignment.asking import Judge, ask_all, questions
from trainer_client.alignment.run_audit import BARE, RunAudit, run_audit
from trainer_client.alignment.run_page import page
from trainer_client.alignment.runs import RunPairs, ends_of, paired
from trainer_client.cli.ending import CANNOT_GO_ON, ended
from trainer_client.cli.progress import progress
from trainer_client.client import JudgeClient
from trainer_client.data import notes
from trainer_client.errors import DataError
from trainer_client.rollouts import reader
from trainer_client.whole_file import write_whole

_EACH = 4
"""Pairs of one prompt."""


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 if the audit did not fail, 1 if it did, 2 for misuse, 130 for an interrupt."""
    try:
        out = args.out or Path(args.files[-1]).with_name(f"{Path(args.files[-1]).name}.pairwise")
        found = _pairs(args)
        out.mkdir(parents=True, exist_ok=True)
        done = asyncio.run(_audited(args, found, out))
        write_whole(out / "report.html", page(done))
        if args.json is not None:
            write_whole(args.json, json.dumps(done.as_json(), indent=1))
    except CANNOT_GO_ON as error:
        return ended(error, args)
    for line in lines(done):
        print(line)
    print(f"rubricd: {done.verdict}: {done.sentence}; report {out / 'report.html'}")
    return 1 if done.verdict == "fail" else 0


def _pairs(args: argparse.Namespace) -> RunPairs:
    if len(args.files) > 2:
        raise DataError("--pairwise takes one run, or two logs of answers to the same prompts, the earlier one first")
    say = notes.once()
    if len(args.files) == 1:
        first, last, told = ends_of(reader.opened(Path(args.files[0])).rollouts(say), args.steps)
    else:
        before, after = (Path(one) for one in args.files)
        first, last = reader.read(before, say=say), reader.read(after, say=say)
        told = f"{before.name} against {after.name}"
    return paired(first, last, told, prompts=args.rows, each=_EACH)


async def _audited(args: argparse.Namespace, found: RunPairs, out: Path) -> RunAudit:
    token = os.environ.get(args.token_env) or None
    async with JudgeClient(args.url, token=token) as client:
        judge = Judge(args.judge or "judge", args.url, client, await client.judge(args.judge), args.judge)
        if judge.fingerprint(BARE.ask) is None:
            raise DataError(f"this judge compares no responses: {judge.why_not(BARE.ask)}")
        with (
            open_store(out / "answers.jsonl") as store,
            progress(len(questions(BARE.ask, found.pairs)), args.quiet, "questions") as told,
        ):
            await ask_all(judge, BARE.ask, found.pairs, store, told)
            return run_audit(judge, found, store)


def lines(done: RunAudit) -> Iterator[str]:
    """What was compared, how often the later answer is preferred, and what the reward says."""
    result = done.result
    doubt = f" ({done.judge['trust']})" if done.judge["trust"] not in (None, "proven") else ""
    yield f"{done.pairs} pairs of {done.prompts} prompts, {done.steps}; judge {done.judge['model']}{doubt}"
    yield f"prefers the later answer      {_figure(result.accuracy)}"
    for kind, figure in result.by_kind.items():
        yield f"  {kind:27} {_figure(figure)}"
    yield f"more reward by the rubric     {_figure(done.reward_more)}"
    yield f"characters, mean              {done.characters[0]:.0f} before, {done.characters[1]:.0f} after"
    if result.not_judged:
        yield f"not judged                    {', '.join(f'{n} {why}' for why, n in sorted(result.not_judged.items()))}"


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    return f"{text(figure, width=6)} of {figure.n}"
