"""Runs `rubricd rescore LOG`: what logged rollouts would have been worth under another judge, rubric or formula.

Guarantees: without `--url` no judge is asked, and everything is computed from the logged verdicts. With it, what the
log or an earlier run of the command has of this judge is not asked again; an interrupt loses no answer.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from trainer_client import wire
from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import CANNOT_GO_ON, ended
from trainer_client.cli.progress import progress
from trainer_client.cli.rescore_lines import changed_lines, lines, notes_of
from trainer_client.cli.service_arguments import add_judge_name, aggregation, count, explained, judge_option
from trainer_client.client import Failed, JudgeClient, ScoreOptions
from trainer_client.data import notes
from trainer_client.data.joined import Rubrics
from trainer_client.data.reader import Law
from trainer_client.data.records import RowError
from trainer_client.errors import DataError
from trainer_client.rescoring.asking import Answers, ask, wanted
from trainer_client.rescoring.change import Change, chosen, chosen_levels, settings_of
from trainer_client.rescoring.comparison import compare
from trainer_client.rescoring.formula import Formula
from trainer_client.rescoring.page import page
from trainer_client.rescoring.rescored_rollouts import rescored_rollouts
from trainer_client.rollouts import Rollout, read, writing
from trainer_client.rollouts.run_tables import Kind
from trainer_client.training import yaml_fields
from trainer_client.whole_file import write_whole

DESCRIPTION = (
    "Say what logged rollouts would have been worth under another judge, rubric, calibration or formula: scores, order "
    "and advantages within groups, verdicts that flip. Only with --url a judge is asked, and only what is missing."
)
_FORMULA = ("aggregation", "soft", "threshold", "min_coverage", "unjudged")
_ANY = [{"prompt": "", "response": "", "rubric": [{"text": "a", "points": 1}]}]
"""Items of a request whose options are checked."""
_ASKED = ("mode", "layout", "judge_prompt", "votes", "consistency")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    about = "a run's folder, its tables, a results file of `rubricd score`, or lines of rollouts"
    add("logs", type=Path, nargs="+", metavar="LOG", help=about)
    add("--held-out", action="store_true", help="of a run, the held-out rollouts instead of the training's")
    add("--out", type=Path, metavar="FOLDER", help="report and answers (beside the first LOG: its name + .rescored)")
    add("--json", type=new_file, metavar="FILE", help="the report as JSON (FOLDER/report.json)")
    add("--quiet", action="store_true", help="print only the summary")
    group = parser.add_argument_group("what is changed")
    add = group.add_argument
    add("--url", metavar="URL", help="verdicts of this judge; those that it gave in the log are not asked again")
    add("--rubrics", type=Path, metavar="FILE", help="other rubrics: rows with the prompts' ids, or a judge.toml")
    add("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall of these means")
    add("--calibration", type=Path, metavar="FILE", help="P(met) by another calibration of the judge in the log")
    add("--aggregation", type=aggregation, metavar="NAME|JSON", help="how verdicts become a score")
    add("--threshold", type=float, metavar="P", help="P(met) at or above which a criterion is met")
    add("--soft", action=argparse.BooleanOptionalAction, default=None, help="count P(met) in place of 0 and 1")
    add("--min-coverage", type=float, metavar="P", help="share of |points| that must be judged for a score")
    add("--unjudged", choices=get_args(wire.Unjudged), help="score where some but enough was judged")
    add("--logged", type=_json, default={}, metavar="JSON", help="these five as the log was made, if not by default")
    group = parser.add_argument_group("how the judge of --url is asked")
    add = group.add_argument
    add("--mode", choices=get_args(wire.Mode)[:2], default="verdict", help="judging mode (%(default)s)")
    add("--layout", choices=get_args(wire.Layout), default="rubricd", help="prompt layout (%(default)s)")
    add_judge_name(group)
    add("--judge-prompt", metavar="NAME", help="mode verdict: the judge's prompt, one that it serves (its default)")
    add("--votes", type=count, default=1, metavar="N", help="mode reasoned: samples for each criterion (%(default)s)")
    add("--consistency", type=int, choices=(1, 2), default=1, help="2: ask also whether each criterion is false")
    add("--token-env", default="RUBRICD_KEY", metavar="NAME", help="environment variable with the key (%(default)s)")
    add("--concurrency", type=count, default=8, metavar="N", help="requests at the same time (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 done, 1 the judge failed on a part of it or nothing has a score, 2 for misuse, 130 for an
    interrupt."""
    try:
        return _run(args)
    except CANNOT_GO_ON as error:
        return ended(error, args, refused=1)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a judge was asked: its answers, what failed, and how many verdicts came now."""

    judge: wire.Judge
    answers: Answers
    failed: Sequence[Failed]
    asked: int


def _run(args: argparse.Namespace) -> int:
    say = notes.once()
    kind: Kind = "held_out" if args.held_out else "completions"
    rollouts = [one for path in args.logs for one in read(path, kind, say)]
    logged = _logged(args)
    change = Change(logged, _formula(args, logged), _rubric(args), *_calibrations(args, rollouts))
    out = args.out or Path(f"{str(args.logs[0]).rstrip('/')}.rescored")
    out.mkdir(parents=True, exist_ok=True)
    judged = None if args.url is None else asyncio.run(_ask(args, rollouts, out, change))
    if judged is not None:
        change = replace(change, answer=judged.answers.of)
    rescored = list(map(change.of, rollouts))
    found = compare(rescored, before=change.logged.threshold, after=change.formula.threshold)
    told = None if judged is None else judged.judge
    facts: dict[str, Any] = {
        "logs": [str(path) for path in args.logs],
        "logged": settings_of(change.logged),
        "settings": settings_of(change.formula),
        "judge": None if told is None else told.model_dump(mode="json", exclude={"members", "calibration"}),
        "rubrics": None if args.rubrics is None else str(args.rubrics),
        "calibration": None if change.calibration is None else change.calibration.name,
        "level_calibration": None if change.levels is None else change.levels.name,
        "verdicts_asked": 0 if judged is None else judged.asked,
        "failed": 0 if judged is None else len(judged.failed),
    }
    facts |= {"changed": changed_lines(facts, args.url), "notes": notes_of(facts, found)}
    (out / "report.json").unlink(missing_ok=True)  # an earlier one, where this one goes elsewhere
    write_whole(args.json or out / "report.json", json.dumps({**facts, **found.as_json()}, indent=1) + "\n")
    write_whole(out / "report.html", page(facts, found))
    writing.write(out, rescored_rollouts(rescored, change, told))
    print("\n".join(lines(facts, found, out / "report.html", quiet=args.quiet)))
    if judged is not None and judged.failed:
        first = judged.failed[0].error
        print(f"rubricd: {len(judged.failed)} response(s) failed: {explained(first, args.token_env)}", file=sys.stderr)
        return 1
    if all(one.after.score is None for one in rescored):
        remedy = "ask a judge for them with --url" if args.url is None else "run it again, or ask another judge"
        print(f"rubricd: no rollout has a score, for want of verdicts: {remedy}", file=sys.stderr)
        return 1
    return 0


def _logged(args: argparse.Namespace) -> Formula:
    """The formula of the log: that of the run config beside it, else the contract's defaults, and what the caller says
    of it. Raises ValueError."""
    file = args.logs[0] / "run.yaml"
    if file.is_file():
        judging = yaml_fields.loaded(file).get("judging") or {}
        if judging.get("debias"):
            raise ValueError(f"{file}: `debias` corrects scores by a certificate, which a log does not hold")
        given = {name: judging[name] for name in _FORMULA if judging.get(name) is not None}
    else:
        given = {}
    return replace(Formula(), **_checked({**given, **args.logged}))


def _formula(args: argparse.Namespace, logged: Formula) -> Formula:
    """What the caller changes of it."""
    given = {name: getattr(args, name) for name in _FORMULA}
    return replace(logged, **_checked({name: value for name, value in given.items() if value is not None}))


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a formula as the contract takes them. Raises ValueError with what is wrong."""
    if unknown := options.keys() - set(_FORMULA):
        raise ValueError(f"`{sorted(unknown)[0]}` is no option of a formula; known: {', '.join(_FORMULA)}")
    try:
        request = wire.ScoreRequest.model_validate({"items": _ANY, **options})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wire.without_kind(first["loc"])))
        raise ValueError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None
    return {name: getattr(request, name) for name in options}


def _rubric(args: argparse.Namespace) -> Callable[[Rollout], wire.Rubric] | None:
    """The other rubric of a rollout: that of the row with its id, or else with its prompt, since of several responses
    to one row each has an id of its own. Raises DataError."""
    if args.rubrics is None:
        return None
    rubrics = Rubrics(args.rubrics, Law(pitfalls=args.pitfalls, say=notes.once()))
    found: dict[str, wire.Rubric] = {}

    def rubric(rollout: Rollout) -> wire.Rubric:
        if rollout.id not in found:
            found[rollout.id] = wire.Rubric.model_validate(_joined(rubrics, rollout)["rubric"])
        return found[rollout.id]

    return rubric


def _joined(rubrics: Rubrics, rollout: Rollout) -> Mapping[str, Any]:
    prompt = rollout.prompt if isinstance(rollout.prompt, str) else list(rollout.prompt)
    try:
        return rubrics.joined({"id": rollout.id, "prompt": prompt})
    except RowError as error:
        try:
            return rubrics.joined({"prompt": prompt})
        except RowError:
            raise DataError(f"{rollout.place}: {error}") from None


def _calibrations(
    args: argparse.Namespace, rollouts: Sequence[Rollout]
) -> tuple[wire.Calibration | None, wire.LevelCalibration | None]:
    """That of P(met) and that of levels. Raises ValueError, DataError."""
    if args.calibration is None:
        return None, None
    if args.url is not None:
        raise ValueError("--calibration is for logged verdicts; the service of --url applies its own")
    try:
        file = wire.parse_calibrations(args.calibration.read_bytes())
    except ValueError as error:
        raise ValueError(f"{args.calibration}: {error}") from None
    judges = {one.judge for one in rollouts if one.judge is not None}
    name = str(args.calibration)
    return chosen(file.calibrations, judges, name), chosen_levels(file, name)


async def _ask(args: argparse.Namespace, rollouts: Sequence[Rollout], out: Path, change: Change) -> _Judged:
    """Asks the judge what is missing. Raises RubricdClientError where it does not serve what is asked."""
    options: ScoreOptions = {name: getattr(args, name) for name in _ASKED}  # type: ignore[assignment]
    checked = wire.ScoreRequest.model_validate({"items": _ANY, **options})
    client = JudgeClient(args.url, token=os.environ.get(args.token_env) or None, concurrency=args.concurrency)
    async with client:
        info = await client.judge(args.judge)
        fits = [one for one in info.judges if (one.mode, one.layout, one.batch) == (checked.mode, checked.layout, None)]
        judge = next((one for one in fits if checked.judge_prompt in (None, one.prompt)), None)
        if judge is None:
            judge_there = f"the judge at {args.url}" if args.judge is None else f"judge `{args.judge}` at {args.url}"
            raise DataError(f"{judge_there} does not serve mode {args.mode} in layout {args.layout}")
        other = {name: options[name] for name in ("votes", "consistency") if options[name] != 1}
        answers = Answers(out / "answers.jsonl", judge.fingerprint, other, judge.readings)
        missing = wanted(rollouts, answers, change.rubric)
        with progress(len(missing), args.quiet or not missing) as moved:
            failed = await ask(client, missing, answers, {**options, **judge_option(args.judge)}, moved)
    return _Judged(judge, answers, failed, len(missing))


def _json(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError('write it as a JSON object, such as {"aggregation": "mean", "soft": true}')
    return value
