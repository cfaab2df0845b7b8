"""A command whose output cannot be written, or which a person interrupts, ends with a sentence and its exit code."""

import subprocess
import sys
from pathlib import Path

import pytest

from trainer_client.cli.output import with_output

PRINTS = "import sys; from trainer_client.cli.output import with_output\n"
PRINTS += "sys.exit(with_output(lambda: print('line\\n' * 20_000) or 0))"


def said(redirected: str, code: str = PRINTS) -> tuple[int, str]:
    done = subprocess.run(
        ["/bin/bash", "-c", f'"$0" -c "$1" {redirected}', sys.executable, code],
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_said_in_a_line() -> None:
    code, line = said(">/dev/full")
    assert code == 2 and line.count("\n") == 1
    assert line.startswith("rubricd: the output cannot be written (No space left on device); ")


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    code, line = said("| head -1 >/dev/null; exit ${PIPESTATUS[0]}")
    assert (code, line) == (1, "")


def test_output_that_is_closed_goes_nowhere() -> None:
    assert said(">&-") == (0, "")


@pytest.mark.parametrize("module", ["service", "trainer_client"])
def test_both_command_lines_use_it(module: str) -> None:
    code = f"import sys; sys.argv = ['x', '--version']\nfrom {module}.__main__ import main\nsys.exit(main())"
    assert said(">&-", code)[0] == 0
    if Path("/dev/full").exists():
        assert said(">/dev/full", code)[0] == 2


def test_an_interrupt_wherever_it_comes_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert with_output(interrupted) == 130
    assert capsys.readouterr().err == "rubricd: interrupted\n"


def test_a_defect_is_no_full_disk() -> None:
    def fails() -> int:
        raise OSError(28, "No space left on device", "some.file")

    with pytest.raises(OSError, match=r"some\.file"):
        with_output(fails)
