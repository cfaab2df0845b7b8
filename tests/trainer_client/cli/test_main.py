"""The command's help explains every argument."""

import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import pytest

from testkit.waiting import HUNG_S
from tools.reference_pages import commands_below
from trainer_client.cli import exit_codes, main

ARGUMENTS = {
    "agree": 14,
    "align": 10,
    "audit": 12,
    "calibrate": 13,
    "cascade": 1,
    "completion": 2,
    "distill": 14,
    "doctor": 5,
    "evaluate": 1,
    "generate": 15,
    "ledger": 1,
    "lint": 8,
    "perturb": 5,
    "report": 5,
    "rescore": 10,
    "rubrics": 1,
    "score": 22,
    "size": 21,
    "train": 5,
    "tune": 5,
    "view": 6,
    "watch": 10,
}
"""How many arguments each command has at least, `--help` among them."""


@pytest.mark.parametrize("command", ARGUMENTS)
def test_every_argument_has_a_help_text(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as exit:
        main.main([command, "--help"])
    assert exit.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: rubricd {command}")
    # An argument is indented by two spaces; its help text follows after two more, or on the next line.
    arguments = re.findall(r"^  (\S.*(?:\n {4,}\S.*)*)", shown.partition("\n\n")[2], re.M)
    assert len(arguments) >= ARGUMENTS[command]
    assert [one for one in arguments if not re.search(r"(  |\n)\s*\S", one)] == []


def test_every_command_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["--help"])
    assert sorted(re.findall(r"^    ([a-z]+)", capsys.readouterr().out, re.M)) == sorted(ARGUMENTS)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"rubricd {version('rubricd')}\n"


WITHOUT_JSON = {
    "rubrics get": "it prints the rubric as JSON",
    "rubrics put": "it prints the reference that was stored",
    "rubrics remove": "it has no result",
    "train": "the run's folder has metrics.jsonl",
    "report": "it writes a page",
    "view": "it writes a page, and tables by --csv and --parquet",
    "distill": "the new judge's folder has its figures",
    "completion": "it prints a script",
}


def test_every_command_with_figures_gives_them_as_json() -> None:
    found = dict(commands_below("rubricd", main.parser(main.ALL)))
    leaves = [name for name in found if not any(other.startswith(f"{name} ") for other in found)]
    without = [name.removeprefix("rubricd ") for name in leaves if "--json" not in found[name].format_help()]
    assert sorted(without) == sorted(WITHOUT_JSON)


def test_the_folder_of_a_file_to_write_is_looked_for_before_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    whole, tried = main.parser(main.ALL), 0
    for name, own in commands_below("rubricd", whole):
        for option in re.findall(r"\[?(--\w+) (?:FILE|RESULTS)\b", own.format_usage()):
            if option in ("--json", "--out", "--page", "--csv", "--parquet", "--report"):
                with pytest.raises(SystemExit):
                    whole.parse_args([*name.split()[1:], option, "nowhere/file"])
                assert f"argument {option}: nowhere: there is no such folder" in capsys.readouterr().err, name
                tried += 1
    assert tried >= 25


def test_every_exit_code_of_a_command_is_in_the_table() -> None:
    """A command that says "1" of itself has its meaning there, and the other way round."""
    says = set()
    for name in main.ALL:
        module = import_module(f"trainer_client.cli.{main.COMMANDS[name].module}")
        run = getattr(module, main.COMMANDS[name].run)
        if re.search(r"\b1\b", run.__doc__ or "") or re.search(
            r"Exit code:.*\b1\b", str(getattr(module, "DESCRIPTION", ""))
        ):
            says.add(name)
    assert says == set(exit_codes.FINDINGS)
    assert list(exit_codes.MEANINGS) == [0, 1, 2, 3, 130]


@pytest.mark.parametrize("hidden", ["", "rich"])
def test_every_command_has_its_help_in_plain_text(hidden: str) -> None:
    """Piped, with NO_COLOR, and also where rich is not installed: no escape sequence, no traceback."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({hidden.split()!r}))\n"
        "from trainer_client.cli import main\n"
        "assert main.installed() == main.ALL\n"
        "main.parser(main.ALL).print_help()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=HUNG_S,
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout and all(name in done.stdout for name in main.ALL)


@pytest.mark.parametrize("words", [[], ["rubrics"], ["evaluate"], ["ledger"], ["cascade"]])
def test_without_the_command_that_it_needs_it_lists_them(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.startswith(f"usage: {' '.join(['rubricd', *words])} [-h]")
    names = main.ALL if not words else [name for name, _ in commands_below("", main.parser(words)) if name]
    assert len(re.findall(r"^    [a-z-]+", said.err, re.M)) >= min(len(names), 1)
