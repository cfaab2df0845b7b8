"""Runs `rubricd completion SHELL`: prints a script by which the shell completes the command and its arguments."""

import argparse
import sys

SHELLS = ("bash", "zsh", "fish")
DESCRIPTION = (
    'Print the script that completes `rubricd` in a shell. For bash: `eval "$(rubricd completion bash)"` in ~/.bashrc; '
    "for zsh: write it to a file `_rubricd` in a $fpath folder; for fish: to ~/.config/fish/completions/rubricd.fish."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0, or 2 where the library that writes it is missing."""
    from trainer_client.cli import main

    try:
        import shtab
    except ModuleNotFoundError:
        print("rubricd: completion needs shtab: pip install 'rubricd[cli]'", file=sys.stderr)
        return 2
    print(shtab.complete(main.parser(main.installed()), shell=args.shell))
    return 0
