"""Runs the command `rubricd`.

`exit_codes.py` says what its exit codes mean.
"""

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from trainer_client.cli.arguments import Parser
from trainer_client.cli.output import with_output


@dataclass(frozen=True, slots=True)
class _Command:
    """`module` is the one of `trainer_client.cli` that has it; the other names are its description, the function that
    adds its arguments, and the one that runs it. `extra` is what to install for it."""

    about: str
    module: str
    description: str = "DESCRIPTION"
    add_arguments: str = "add_arguments"
    run: str = "run"
    extra: str = "cli"


COMMANDS: Mapping[str, _Command] = {
    "score": _Command("score a file of responses", "score"),
    "ledger": _Command("check a ledger of verdicts", "ledger"),
    "rubrics": _Command("store rubrics, and read them back", "rubrics"),
    "rescore": _Command("say what logged rollouts would have been worth", "rescore"),
    "lint": _Command("find what to look at in rubrics", "lint.command"),
    "perturb": _Command("make rubrics worse in a known way", "perturb"),
    "generate": _Command("write rubrics with a chat model", "generate"),
    "train": _Command("train a policy on rewards", "train", extra="train"),
    "report": _Command("write a run's report again", "train", "REPORT", "add_report_arguments", "run_report", "train"),
    "view": _Command("read, search and compare scored responses in one page", "view"),
    "align": _Command("measure which of two responses judges prefer", "align"),
    "watch": _Command("watch a run's rewards", "watch"),
    "agree": _Command("measure judges against labels", "agree"),
    "tune": _Command("find the prompt that suits a judge", "tune"),
    "audit": _Command("measure how a judge behaves", "audit"),
    "calibrate": _Command("measure what a judge's P(met) means", "calibrate"),
    "cascade": _Command("plan a cascade of judges", "cascade"),
    "evaluate": _Command("evaluate a policy", "evaluate.command"),
    "distill": _Command("train a small judge", "distill"),
    "size": _Command("calculate how many GPUs a judge needs", "size"),
    "doctor": _Command("say what is between here and a judge", "doctor"),
    "completion": _Command("print a shell's completion", "completion"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code of the command with these arguments, by default those of the process."""
    given = list(sys.argv[1:] if argv is None else argv)
    return with_output(lambda: _run(given))


def _run(given: Sequence[str]) -> int:
    try:
        whole = parser(given[:1])
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        extra = COMMANDS[given[0]].extra
        print(f"rubricd: {given[0]} needs numpy: pip install 'rubricd[{extra}]'", file=sys.stderr)
        return 2
    args = whole.parse_args(given)
    code: int = args.run(args)
    return code


class _Version(argparse.Action):
    """Prints the version, and looks for it only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"rubricd {version('rubricd')}")
        parser.exit()


ALL = tuple(COMMANDS)
"""The names of the commands, in the order of the help."""


def installed() -> tuple[str, ...]:
    """The names of the commands whose arguments can be read with what is installed."""
    return tuple(name for name, command in COMMANDS.items() if _imports(command.module))


def _imports(module: str) -> bool:
    try:
        import_module(f"trainer_client.cli.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("trainer_client"):
            raise
        return False
    return True


def parser(known: Collection[str]) -> argparse.ArgumentParser:
    """The parser of the command and its subcommands. Of these it knows the arguments of those in `known`: what another
    one imports takes time, and may not be installed."""
    whole = Parser(prog="rubricd", description="Get rubric rewards from a judge service.")
    whole.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        module = import_module(f"trainer_client.cli.{command.module}") if name in known else None
        own = commands.add_parser(name, help=command.about, description=getattr(module, command.description, None))
        if module is not None:
            getattr(module, command.add_arguments)(own)
            own.set_defaults(run=getattr(module, command.run), parser=own)
    return whole
