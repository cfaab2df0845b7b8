"""Runs `rubricd tune LABELS`: it asks a judge in every prompt that it serves, and says which one to set.

Guarantees: verdicts are kept in a file beside the labels, so that the same command goes on after an interrupt. The
prompt that the service has now is kept unless another one is better by more than a standard error.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_client import wire
from trainer_client.agreement.shown import text
from trainer_client.calibration.tuning import Asked, Tuned, tune
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import CANNOT_GO_ON, ended
from trainer_client.cli.progress import progress
from trainer_client.cli.service_arguments import add_judge_name, composed_of, judge_option
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.data import notes
from trainer_client.data.files import sources
from trainer_client.data.reader import Law
from trainer_client.errors import DataError
from trainer_client.labels import Judged, Labels, judge_labels, read_labels
from trainer_client.labels.judging import judge_asked
from trainer_client.whole_file import write_whole

DESCRIPTION = (
    "Compare the prompts and label pairs that a judge serves on labelled rows, by AUROC and calibrated log loss, and "
    "print the setting to use. Exit code: 0 done, 2 wrong use or too few labels."
)
_DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class _Arm:
    """A judge in one prompt. `setting` is what an operator sets for it."""

    name: str
    url: str
    prompt: str
    setting: str
    fingerprint: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("labels", nargs="+", metavar="LABELS", help=f"labelled rows in {sources.KINDS} (docs/guide/judge-quality.md)")
    add(
        "--url",
        action="append",
        metavar="URL",
        help=f"address of a judge service ({_DEFAULT_URL}); repeat it for services that differ in `labels`",
    )
    add_judge_name(parser)
    add("--token-env", default="RUBRICD_KEY", metavar="NAME", help="environment variable with the key (%(default)s)")
    add("--judge-prompt", action="append", metavar="NAME", help="compare this prompt; may be repeated (all served)")
    add(
        "--store",
        type=new_file,
        metavar="FILE",
        help="verdicts, to resume from (the first LABELS: stem + .verdicts.jsonl)",
    )
    add("--json", type=new_file, metavar="FILE", help="write all figures as JSON, too")
    add("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 done, 2 for misuse or too few labels, 130 for an interrupt."""
    try:
        tuned, arms = _tuned(args)
        if args.json is not None:
            setting = next(arm.setting for arm in arms if arm.name == tuned.winner)
            facts = {**tuned.as_json(), "setting": setting, "judges": {arm.name: arm.fingerprint for arm in arms}}
            write_whole(args.json, json.dumps(facts, indent=1) + "\n")
    except CANNOT_GO_ON as error:
        return ended(error, args)
    for line in lines(tuned, arms):
        print(line)
    return 0


def _tuned(args: argparse.Namespace) -> tuple[Tuned, list[_Arm]]:
    store = args.store
    if store is None:
        if args.labels[0] == sources.STANDARD_INPUT:
            raise DataError("standard input has no name for the verdicts; name them with --store")
        store = Path(args.labels[0]).with_name(f"{sources.stem(args.labels[0])}.verdicts.jsonl")
    labels = read_labels(args.labels, law=Law(say=notes.once()))
    arms, judged = asyncio.run(_judged(args, labels, store))
    return tune(labels, [Asked(arm.name, one) for arm, one in zip(arms, judged, strict=True)]), arms


async def _judged(args: argparse.Namespace, labels: Labels, store: Path) -> tuple[list[_Arm], list[Judged]]:
    """The prompts that the services have now come first."""
    urls = list(dict.fromkeys(args.url or [_DEFAULT_URL]))
    token = os.environ.get(args.token_env) or None
    found: list[_Arm] = []
    for url in urls:
        async with JudgeClient(url, token=token) as client:
            found += _arms(url, await client.judge(args.judge), args.judge_prompt, named=len(urls) > 1)
    total = len(found) * sum(len(one.criteria) for one in labels.items)
    judged: list[Judged] = []
    with progress(total, args.quiet) as told:
        for arm in found:
            async with JudgeClient(arm.url, token=token) as client:
                options: ScoreOptions = {"judge_prompt": arm.prompt, **judge_option(args.judge)}
                judged.append(await judge_labels(client, labels, options=options, store=store, progress=told))
    return found, judged


def _arms(url: str, info: wire.JudgeInfo, wanted: Sequence[str] | None, *, named: bool) -> Iterator[_Arm]:
    """One for each prompt that is served, or that is wanted. Raises DataError for one that is not served, and for a
    composition, which has no prompts of its own."""
    if composed := composed_of(info):
        raise DataError(f"{composed}, each with prompts of its own; tune these by --judge")
    served = [one.name for one in info.prompts if one.served]
    if not served:
        raise DataError(f"the judge at {url} has no prompts to choose from")
    for prompt in wanted or ():
        if prompt not in served:
            raise DataError(f"{url} does not serve the prompt {prompt}; it serves {', '.join(served) or 'none'}")
    labels = json.dumps(list(info.labels))
    for prompt in [one for one in served if wanted is None or one in wanted]:
        if info.name is None:
            setting = f"--prompt {prompt}" + (f" --labels '{labels}'" if named else "")
        else:
            setting = f"prompt: {prompt}" + (f", labels: {labels}" if named else "") + f" of judge `{info.name}`"
        fingerprint = judge_asked(info, {"judge_prompt": prompt}).fingerprint
        yield _Arm(f"{prompt} at {url}" if named else prompt, url, prompt, setting, fingerprint)


def lines(tuned: Tuned, arms: Sequence[_Arm]) -> Iterator[str]:
    """The comparison and the setting, for a person."""
    width = max(len(one.name) for one in tuned.compared)
    yield f"{tuned.criteria:,} labelled criteria of {tuned.prompts:,} conversations"
    yield f"{'prompt':{width}}  mass  {'AUROC':24}{'log loss, calibrated':24}{'as it came':12}chosen"
    for one in tuned.compared:
        raw = "-" if one.raw_log_loss.value is None else f"{one.raw_log_loss.value:.3f}"
        yield (
            f"{one.name:{width}}  {one.label_mass:.2f}  {text(one.auroc):24}{text(one.log_loss):24}{raw:12}"
            f"{one.chosen} of {sum(each.chosen for each in tuned.compared)}"
        )
    for arm in arms:
        yield f"{arm.name}: judge {arm.fingerprint}"
    for name, reason in tuned.left_out.items():
        yield f"{name}: not compared, {reason}"
    worth = {name: text(figure) for name, figure in tuned.worth.items()}
    yield (
        f"choosing, on rows that took no part in it: AUROC {worth['auroc']}, log loss {worth['log_loss']}; over "
        f"{tuned.compared[0].name}: AUROC {worth['auroc_gain']} more, log loss {worth['log_loss_gain']} less"
    )
    setting = next(arm.setting for arm in arms if arm.name == tuned.winner)
    if tuned.winner == tuned.compared[0].name:
        yield f"rubricd: keep {setting}: no prompt is better by more than a standard error"
    else:
        yield f"rubricd: set {setting}"
