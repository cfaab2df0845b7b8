"""Runs `rubricd watch LOG`: it says how a run's rewards are, once or while the run goes on, and raises alarms.

Guarantees: an interrupt loses no answer of a judge; the same command goes on from there.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

from trainer_client import wire
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import CANNOT_GO_ON, ended
from trainer_client.cli.service_arguments import add_judge_name, count
from trainer_client.cli.watch_lines import alarm_lines, lines, step_line
from trainer_client.client import JudgeClient
from trainer_client.data import notes
from trainer_client.errors import DataError
from trainer_client.rollouts import Log, opened
from trainer_client.training.report import page as report
from trainer_client.watch.alarms import Declared
from trainer_client.watch.health import Health, as_json
from trainer_client.watch.internalisation import Trend, trend
from trainer_client.watch.page import page
from trainer_client.watch.watching import Asked, Judges, Watcher
from trainer_client.whole_file import write_whole

DESCRIPTION = (
    "Watch the rewards of a run, or of logged rollouts: what teaches nothing, what is exploited, and what to do. "
    "Exit code: 0 all is well, 1 an alarm or a finding, 2 wrong use."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("log", type=Path, metavar="LOG", help="a run's folder, a results file of `rubricd score`, or lines of rollouts")
    add("--held-out", action="store_true", help="of a run, watch the held-out rollouts instead of the training's")
    add("--follow", action="store_true", help="go on until the run has ended, or until an interrupt")
    add("--every", type=_seconds, default=10.0, metavar="SECONDS", help="between two looks that follow (%(default)g)")
    add("--url", metavar="URL", help="the run's judge: ask it about answers without content")
    add_judge_name(parser)
    add(
        "--shadow",
        action="append",
        default=[],
        metavar="URL",
        help="another judge of a share of the rollouts; may be repeated, which makes a panel",
    )
    add_judge_name(parser, flag="--shadow-judge", repeated="one for all --shadow, or one for each in their order")
    add("--shadow-share", type=_share, default=0.25, metavar="SHARE", help="that share (%(default)g)")
    add(
        "--internalisation",
        type=count,
        metavar="PROMPTS",
        help="of a run, measure the self-internalisation gap of its checkpoints on so many prompts; needs torch",
    )
    add("--samples", type=count, default=10, metavar="K", help="answers to each of these prompts (%(default)s)")
    add("--mode", default="verdict", choices=get_args(wire.Mode)[:2], help="judging mode of these judges (%(default)s)")
    add("--layout", default="rubricd", choices=get_args(wire.Layout), help="their prompt layout (%(default)s)")
    add("--token-env", default="RUBRICD_KEY", metavar="NAME", help="environment variable with the key (%(default)s)")
    add(
        "--false-alarms",
        type=_share,
        default=0.01,
        metavar="CHANCE",
        help="the chance that an honest run ever raises any alarm (%(default)g)",
    )
    add(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where judges' answers are kept (RUN/watch, or stem.watch)",
    )
    add("--json", type=new_file, metavar="FILE", help="write all figures as JSON, too")
    add("--page", type=new_file, metavar="FILE", help="write a page with charts, too; a run has them in report.html")
    add("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 all is well, 1 an alarm or a finding, 2 for misuse, 130 for an interrupt."""
    try:
        log = opened(args.log, "held_out" if args.held_out else "completions")
        found = asyncio.run(_watched(args, log))
    except CANNOT_GO_ON as error:
        return ended(error, args)
    return 0 if found.is_well else 1


async def _watched(args: argparse.Namespace, log: Log) -> Health:
    async with contextlib.AsyncExitStack() as stack:
        token = os.environ.get(args.token_env) or None

        async def asked(url: str, judge: str | None) -> Asked:
            return Asked(await stack.enter_async_context(JudgeClient(url, token=token)), args.mode, args.layout, judge)

        judges = Judges(
            None if args.url is None else await asked(args.url, args.judge),
            [await asked(url, judge) for url, judge in _shadows(args)],
            args.shadow_share,
        )
        with _progress(args.quiet) as told:
            watcher = Watcher(log, _folder(args), judges, Declared(args.false_alarms), notes.once(), told)
            watcher.trend = _trend(args, told)
            found = await watcher.update()
            if found is None and not args.follow:
                raise DataError(f"{args.log}: no rollouts yet")
            if args.follow:
                found = await _followed(args, log, watcher, found)
    if found is None:
        raise DataError(f"{args.log}: the run has ended without a rollout")
    _write(args, found, log)
    if (log.path / "data.json").is_file() and not args.held_out:
        print(f"rubricd: report {report.write(log.path, found)}")
    for line in lines(found):
        print(line)
    return found


def _shadows(args: argparse.Namespace) -> list[tuple[str, str | None]]:
    """The other judges, each with its name in its deployment. Raises DataError where there are more or fewer names."""
    names = args.shadow_judge or [None]
    if len(names) not in (1, len(args.shadow)):
        raise DataError(f"--shadow-judge: give one name, or one for each of the {len(args.shadow)} --shadow")
    return list(zip(args.shadow, names * len(args.shadow) if len(names) == 1 else names, strict=True))


def _trend(args: argparse.Namespace, told: Callable[[int, int], None]) -> Trend | None:
    if args.internalisation is None:
        return None
    if not (args.log / "run.yaml").is_file():
        raise DataError(f"{args.log}: --internalisation needs a run's folder with its checkpoints")
    from trainer_client.training.internalisation import measured

    checkpoints = measured(args.log, args.internalisation, args.samples, told)
    if len(checkpoints) < 2:
        raise DataError(f"{args.log}: has no checkpoint yet, and the gap of one policy is no trend")
    return trend(checkpoints, args.false_alarms)


async def _followed(args: argparse.Namespace, log: Log, watcher: Watcher, found: Health | None) -> Health | None:
    """Prints a line for each step with its new alarms, until the run's policy is there."""
    said: set[str] = set()
    while True:
        if found is not None:
            print(step_line(found), flush=True)
            for line in alarm_lines(found):
                if line not in said:
                    said.add(line)
                    print(line, flush=True)
            _write(args, found, log)
        if (log.path / "policy").is_dir():
            return await watcher.update() or found
        await asyncio.sleep(args.every)
        found = await watcher.update() or found


def _write(args: argparse.Namespace, found: Health, log: Log) -> None:
    if args.json is not None:
        write_whole(args.json, json.dumps(as_json(found), indent=1, ensure_ascii=False))
    if args.page is not None:
        write_whole(args.page, page(found, str(log.path)))


def _folder(args: argparse.Namespace) -> Path:
    if args.out is not None:
        return Path(args.out)
    log: Path = args.log
    return log / "watch" if log.is_dir() else log.with_name(f"{log.name.partition('.')[0]}.watch")


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Yields what is told how many of so many questions or checkpoints are done: a line for each tenth."""
    if quiet:
        yield lambda done, of: None
        return
    tenth = -1

    def told(done: int, of: int) -> None:
        nonlocal tenth
        now = done * 10 // max(of, 1)
        if now != tenth and of:
            print(f"rubricd: {done:,} of {of:,} done", file=sys.stderr)
        tenth = now

    yield told


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("must be above 0 and at most 1")
    return share


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("must be above 0 and at most 3600")
    return seconds
