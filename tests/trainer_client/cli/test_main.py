"""The command's help explains every argument."""

import argparse
from collections.abc import Iterator

import pytest

from trainer_client.cli import main


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # argparse has no public way to list them
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _arguments(command)
        else:
            yield action


def test_every_argument_has_a_help_text_and_a_name_for_its_value() -> None:
    arguments = list(_arguments(main.parser()))
    assert len(arguments) > 40
    assert [one.dest for one in arguments if not one.help] == []
    unnamed = [one.dest for one in arguments if one.nargs != 0 and not (one.metavar or one.choices)]
    assert unnamed == []


@pytest.mark.parametrize("command", ["score", "train", "report", "size"])
def test_every_command_prints_its_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main.main([command, "--help"])
    assert exit.value.code == 0
    assert f"usage: rubricd {command}" in capsys.readouterr().out
