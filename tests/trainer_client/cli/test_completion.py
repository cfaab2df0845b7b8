"""A shell completes commands, arguments and their values by the script that is printed."""

import shutil
import subprocess

import pytest

from testkit.waiting import HUNG_S
from trainer_client.cli import main
from trainer_client.cli.completion import SHELLS


def _script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main.main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = _script(shell, capsys)
    assert [name for name in main.ALL if name not in script] == []
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True, timeout=HUNG_S)


CASES = [
    (["sc"], {"score"}),
    (["score", "--judge-"], {"--judge-prompt"}),
    (["score", "--mode", "ve"], {"verdict"}),
    (["evaluate", "heal"], {"healthbench"}),
    (["completion", "f"], {"fish"}),
]


@pytest.mark.parametrize(("typed", "offered"), CASES, ids=[" ".join(typed) for typed, _ in CASES])
def test_bash_completes(typed: list[str], offered: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = " ".join(["rubricd", *typed])
    asked = (
        f"{_script('bash', capsys)}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed)}; COMP_LINE='{words}'\n"
        "_shtab_rubricd; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=HUNG_S)
    assert set(done.stdout.split()) == offered, done.stderr
