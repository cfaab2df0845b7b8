"""The command's help explains every argument."""

import re
from importlib.metadata import version

import pytest

from trainer_client.cli import main

ARGUMENTS = {
    "agree": 14,
    "align": 10,
    "audit": 12,
    "calibrate": 13,
    "cascade": 1,
    "distill": 14,
    "evaluate": 1,
    "generate": 15,
    "ledger": 1,
    "lint": 8,
    "perturb": 5,
    "report": 2,
    "rescore": 10,
    "rubrics": 1,
    "score": 21,
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
