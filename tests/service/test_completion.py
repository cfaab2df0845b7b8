"""A shell completes `python -m service` and the flags of its settings, and other lines of `python` as before."""

import shutil
import subprocess
import sys
from functools import cache

import pytest

from service.completion import SHELLS
from testkit.waiting import HUNG_S


@cache
def _script(shell: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "service", "completion", shell], capture_output=True, text=True, timeout=HUNG_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_commands_and_settings(shell: str) -> None:
    script = _script(shell)
    assert [name for name in ("serve", "doctor", "keys", "max-batch-tokens", "teams") if name not in script] == []
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True, timeout=HUNG_S)


CASES = [
    (["python", "-m", "service", "ser"], {"serve"}),
    (["python", "-m", "service", "serve", "--max-batch-t"], {"--max-batch-tokens"}),
    ([".venv/bin/python", "-m", "service", "keys", "re"], {"revoke"}),
    (["python3", "-m", "service", "completion", "f"], {"fish"}),
    (["python", "-m", "json.tool", "x"], {"as-before"}),
]


@pytest.mark.parametrize(("typed", "offered"), CASES, ids=[" ".join(typed) for typed, _ in CASES])
def test_bash_completes(typed: list[str], offered: set[str]) -> None:
    words = " ".join(typed)
    asked = (
        "_before() { COMPREPLY=(as-before); }\ncomplete -F _before python\n"
        f"{_script('bash')}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; COMP_LINE='{words}'\n"
        "$(complete -p python3 | sed 's/.* -F \\([^ ]*\\) .*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=HUNG_S)
    assert set(done.stdout.split()) == offered, done.stderr


def test_where_its_library_is_missing_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['shtab'] = None; from service.__main__ import main; "
        "sys.exit(main(['completion', 'bash']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HUNG_S)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "rubricd: completion needs shtab: pip install 'rubricd[cli]'\n"
