"""`rubricd train RUN.yaml`: a whole training from one file, and `rubricd report RUN`: its page, written again.

Always true: nothing is loaded before rows and judge have been looked at; whatever ends a training, the message says how
to go on, and the run's folder holds what was done until then. Importing this needs no torch.
"""

import argparse
import sys
from pathlib import Path

from trainer_client.errors import DataError, RubricdClientError
from trainer_client.training import preflight, report, run_config, run_dir
from trainer_client.training.preflight import Plan
from trainer_client.training.run_config import RunConfigError

DESCRIPTION = "Train a policy on rubric rewards from a judge service, as a run file says; see docs/guide/training.md."
REPORT = "Write the page of a run again, from what is in its folder."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", type=Path, metavar="RUN.yaml", help="the run file")
    add("--out", type=Path, help="the run's folder, in place of the file's")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        dest="changes",
        help="change a field of the file",
    )
    add("--resume", action="store_true", help="go on from the last checkpoint; from the start where there is none")
    add("--another-judge", action="store_true", help="with --resume: go on though the judge is another one now")


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN", help="the run's folder")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 trained, 1 ended before its end, 2 for misuse, 130 for an interrupt."""
    try:
        wanted = run_config.read(args.file, changes=args.changes, out=args.out)
        plan = preflight.prepare(wanted, resume=args.resume, another_judge=args.another_judge)
        _tell(plan)
    except KeyboardInterrupt:
        return 130
    except (RunConfigError, RubricdClientError, OSError) as error:
        return _say(f"{error}{_hint(error, args)}", 2)
    try:
        return _train(plan)
    finally:
        if plan.processes.first:
            _report(plan.out)


def run_report(args: argparse.Namespace) -> int:
    try:
        print(report.write(args.folder))
    except (RunConfigError, OSError, ImportError) as error:
        return _say(str(error), 2)
    return 0


def _train(plan: Plan) -> int:
    from trainer_client.training import train
    from trainer_client.trl.reward import TooFewJudged

    try:
        train.train(plan)
    except KeyboardInterrupt:
        return _say(f"interrupted; {_way_on(plan.out)}", 130)
    except (RunConfigError, DataError) as error:
        return _say(str(error), 2)
    except (TooFewJudged, RubricdClientError) as error:
        return _say(f"{error}; {_way_on(plan.out)}", 1)
    return 0


def _tell(plan: Plan) -> None:
    if not plan.processes.first:
        return
    start = "" if plan.checkpoint is None else f", from {plan.checkpoint.name}"
    print(
        f"rubricd: {plan.run.preset}, {plan.steps} batches of {plan.run.prompts_per_batch} prompts x "
        f"{plan.run.group} rollouts{start}; judge {plan.judge['model']} {plan.judge['fingerprint']}; "
        f"run folder {plan.out}"
    )
    if plan.doubt is not None:
        print(f"rubricd: an empty answer to the first row has no score ({plan.doubt}); others may have none either")


def _way_on(out: Path) -> str:
    last = run_dir.checkpoint(out)
    if last is None:
        return "there is no checkpoint yet, so --resume begins again"
    return f"--resume goes on from {last.name}"


def _hint(error: Exception, args: argparse.Namespace) -> str:
    """What the service cannot know: where the key came from."""
    code = getattr(error, "code", "")
    if code == "unauthorized":
        return " (the key is read from the environment variable that `judging.token_env` names)"
    return ""


def _report(out: Path) -> None:
    try:
        print(f"rubricd: report {report.write(out)}")
    except Exception as error:
        _say(f"no report: {error}", 0)


def _say(text: str, code: int) -> int:
    print(f"rubricd: {text}", file=sys.stderr)
    return code
