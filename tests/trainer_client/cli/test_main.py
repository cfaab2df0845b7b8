"""The command's help explains every argument."""

import re

import pytest

from trainer_client.cli import main

ARGUMENTS = {
    "agree": 14,
    "audit": 12,
    "calibrate": 13,
    "distill": 14,
    "score": 21,
    "lint": 8,
    "train": 5,
    "report": 2,
    "size": 21,
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
