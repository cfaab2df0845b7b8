"""Parses the arguments of the command: a wrong one is refused in two lines, with the nearest known one.

A file that will be written is an argument, too: that its folder is missing is said before hours of work, not after.

Guarantees: no refusal prints the whole usage; `--help` does, and a command that needs another one after it.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose refusals are short. Its subcommands are parsers like it."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """The arguments. Exits with 2 for what is no argument of the command."""
        given = list(sys.argv[1:] if args is None else args)
        found, unknown = self.parse_known_args(given, namespace)
        if unknown:
            parser: Parser = getattr(found, "parser", self)
            name = unknown[0].partition("=")[0]
            parser.error(f"unknown argument {name}{_hint(name, list(parser._option_string_actions))}")
        return found

    def error(self, message: str) -> NoReturn:
        if self._subparsers is not None and message.startswith("the following arguments are required"):
            self.print_help(sys.stderr)  # what is missing is one of its commands, which the help lists
            self.exit(2)
        self.exit(2, f"{self.prog}: {_with_hint(message)}\nAll arguments: {self.prog} --help\n")


def new_file(text: str) -> Path:
    """An argument that names a file to write: one in a folder that is there."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path.parent}: there is no such folder; make it, or name another file")
    return path


def _with_hint(message: str) -> str:
    """argparse's message about a wrong choice, with the nearest of the choices."""
    wrong = re.match(r".*invalid choice: '(.*?)' \(choose from (.*)\)", message)
    return message if wrong is None else message + _hint(wrong[1], re.findall(r"[\w-]+", wrong[2]))


def _hint(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
