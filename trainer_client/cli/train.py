"""Runs `rubricd train RUN.yaml`, a training from one file, and `rubricd report RUN`, which writes its report again.

Guarantees: the policy is not loaded before rows and judge have been checked, and the run's folder is made after it is
loaded: a run that fails to start leaves nothing behind. When a training ends early, the message says how to continue,
and the run's folder holds the work until then. Importing this module needs no torch.
"""

import argparse
import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_client.cli.arguments import new_file
from trainer_client.cli.ending import sentence_of
from trainer_client.cli.progress import say_past_bars
from trainer_client.cli.service_arguments import price
from trainer_client.errors import JudgeMismatch, RubricdClientError
from trainer_client.training import demonstrations, preflight, several_runs
from trainer_client.training.preflight import Plan
from trainer_client.training.report import page as report
from trainer_client.training.run import config as run_config
from trainer_client.training.run import folder as run_dir
from trainer_client.training.run.config import RunConfigError

DESCRIPTION = (
    "Train a policy on rubric rewards from a judge service, as a run config describes (docs/guide/training.md)."
)
REPORT = "Write report.html of a run again, from the files in its folder; of several runs, one page that compares them."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", type=Path, metavar="RUN.yaml", help="the run config")
    add("--out", type=Path, metavar="FOLDER", help="the run's folder, instead of the file's `out`")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        dest="changes",
        help="change a field of the run config; may be repeated",
    )
    add("--check", action="store_true", help="check everything, print the plan and end; nothing is written")
    add("--resume", action="store_true", help="continue from the last checkpoint, or start if there is none")
    add("--toy-judge", action="store_true", help="train although the judge is a toy, whose rewards mean nothing")
    add("--another-judge", action="store_true", help="with --resume: continue although the judge has changed")


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    about = "the run's folder; of several, one page with their lines over each other"
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help=about)
    about = "of several runs, the page (compared.html beside the first FOLDER)"
    parser.add_argument("--out", type=new_file, metavar="FILE", help=about)
    for side, verb in (("in", "reads"), ("out", "writes")):
        about = f"price of a million tokens that the judge {verb}, for a sum of money"
        parser.add_argument(f"--price-{side}", type=price, metavar="MONEY", help=about)


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 trained, 1 ended before its end, 2 for misuse, 3 ended by an alarm about its rewards, 130 for an
    interrupt."""
    try:
        wanted = run_config.read(args.file, changes=args.changes, out=args.out)
        plan = preflight.prepare(wanted, resume=args.resume, another_judge=args.another_judge, toy_judge=args.toy_judge)
        shown = demonstrations.demonstrations(wanted)
        # These need torch, which takes seconds to import.
        from trainer_client.training import policy_check, train

        checked = policy_check.check(plan)
        if plan.processes.first:
            _print_plan(plan, checked.cut, len(checked.prompt_tokens))
        if args.check:
            return _print_estimate(plan, checked)
        if wanted.sft is not None:
            preflight.begin(plan)
            plan = demonstrations.trained(plan, shown, checked.config)
            if wanted.sft.only:
                return 0
        trainer = train.trainer_of(plan, checked)
        if wanted.sft is None:
            preflight.begin(plan)
    except KeyboardInterrupt:
        return 130
    except (RunConfigError, RubricdClientError, OSError) as error:
        return _fail(f"{sentence_of(error)}{_hint(error, args)}", 2)
    try:
        return _train(plan, trainer)
    finally:
        if plan.processes.first:
            _report(plan.out)


def run_report(args: argparse.Namespace) -> int:
    """The exit code: 0 written, 2 for misuse."""
    prices = args.price_in, args.price_out
    try:
        if len(args.folders) > 1:
            path = args.out or args.folders[0].resolve().with_name("compared.html")
            several_runs.write(args.folders, path, prices)
            print(path)
        elif args.out is not None:
            return _fail("--out names the page of several runs; one run has its report in its folder", 2)
        else:
            print(report.write(args.folders[0], prices=prices))
    except (RunConfigError, OSError, ImportError) as error:
        return _fail(sentence_of(error), 2)
    return 0


def _train(plan: Plan, trainer: Any) -> int:
    from trainer_client.training import train
    from trainer_client.trl.reward import TooFewJudged

    try:
        train.train(plan, trainer)
    except train.StoppedByAlarm as alarm:
        text = (
            f"ended by `watch.stop`: {alarm}; {_how_to_continue(plan.out)}, with --set watch.stop=[] if it is to go on"
        )
        return _fail(text, 3)
    except KeyboardInterrupt:
        return _fail(f"interrupted; {_how_to_continue(plan.out)}", 130)
    except JudgeMismatch as error:
        return _fail(f"{_another_judge(plan, error)}; {_how_to_continue(plan.out)}", 1)
    except (TooFewJudged, RubricdClientError) as error:
        return _fail(f"{error}; {_how_to_continue(plan.out)}", 1)
    except Exception as error:  # of any library below
        return _fail(f"{_written_down(plan, error)}; {_how_to_continue(plan.out)}", 1)
    return 0


def _another_judge(plan: Plan, error: JudgeMismatch) -> str:
    """What the service refused: it was asked to be the judge that answered when the run began."""
    known = {one["fingerprint"] for one in (plan.judge, plan.examiner) if one is not None}
    return (
        f"the judge was replaced while the run went on ({error}, and the run began with "
        f"{' and '.join(sorted(known))}): scores of two judges are not one reward. Bring the first judge back, or "
        "continue with the new one by --another-judge"
    )


_HINTS = {
    "out of memory": "; lower `per_device` or trl.max_completion_length",
    r"\bnan\b": "; the policy's probabilities are no numbers: look at its weights, or lower trl.learning_rate",
}
"""What to change, by a word of the error."""


def _written_down(plan: Plan, error: Exception) -> str:
    """One line about an error that nobody foresaw. Its traceback goes into the run's folder."""
    from trainer_client.training.policy_check import one_line

    path = plan.out / ("error.txt" if plan.processes.first else f"error-{plan.processes.rank}.txt")
    lower = next((hint for word, hint in _HINTS.items() if re.search(word, str(error), re.IGNORECASE)), "")
    try:
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        where = f"{path} has the traceback"
    except OSError as full:  # where the disk is full, which often is the error itself
        where = f"{path} could not be written: {full.strerror}"
    return f"the training ended by {type(error).__name__}: {one_line(error)}{lower}; {where}"


def _print_estimate(plan: Plan, checked: Any) -> int:
    from trainer_client.training import estimate

    if plan.processes.first:
        for line in estimate.lines(plan, checked.prompt_tokens, checked.config.max_completion_length):
            print(f"rubricd: {line}")
        print("rubricd: checked; nothing was written")
    return 0


def _print_plan(plan: Plan, cut: int, rows: int) -> None:
    start = "" if plan.checkpoint is None else f", from {plan.checkpoint.name}"
    print(
        f"rubricd: {plan.run.preset}, {plan.steps} batches of {plan.run.prompts_per_batch} prompts x "
        f"{plan.run.group} rollouts{start}; {_rate(plan)}judge {plan.judge['model']} {plan.judge['fingerprint']}"
        f"{_doubt(plan.judge)}; {_examiner(plan)}"
        f"run folder {plan.out}"
    )
    if plan.trial_failure is not None:
        print(f"rubricd: an empty answer to the first row has no score ({plan.trial_failure}); others may lack one too")
    if cut:
        print(f"rubricd: the rubrics of {cut} of {rows} rows do not fit; a part of their criteria is revealed")


def _examiner(plan: Plan) -> str:
    one = plan.examiner
    return "" if one is None else f"examiner {one['model']} {one['fingerprint']}{_doubt(one)}; "


def _doubt(judge: Mapping[str, Any]) -> str:
    if judge["toy"]:
        return " (a toy)"
    return (
        " (unproven: compare it with labels before you believe its rewards)" if judge.get("trust") == "unproven" else ""
    )


def _rate(plan: Plan) -> str:
    """The learning rate, where the run config has one; TRL decides it otherwise."""
    rate = plan.run.trl.get("learning_rate")
    return "" if rate is None else f"learning rate {rate:g}{' of the adapter' if plan.run.lora else ''}; "


def _how_to_continue(out: Path) -> str:
    last = run_dir.checkpoint(out)
    if last is None:
        return "there is no checkpoint yet, so --resume starts from the beginning"
    return f"--resume continues from {last.name}"


def _hint(error: Exception, args: argparse.Namespace) -> str:
    """A hint that the service cannot give: the source of the key."""
    code = getattr(error, "code", "")
    if code == "unauthorized":
        return " (the key is read from the environment variable that `judging.token_env` names)"
    return ""


def _report(out: Path) -> None:
    try:
        print(f"rubricd: report {report.write(out)}")
    except Exception as error:
        _fail(f"no report: {error}", 0)


def _fail(text: str, code: int) -> int:
    say_past_bars(f"rubricd: {text}")
    return code
