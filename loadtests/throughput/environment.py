"""A virtual environment for the library that is compared with, so that nothing of it comes into ours.

It is made once, below this environment's own folder, and goes with it.
"""

import subprocess
import sys
from pathlib import Path

from testkit.processes import Failed

PACKAGES = ("rubric==2.2.0", "openai>=2,<4")
INSTALL_S = 300.0


def library_python() -> Path:
    """Its Python. Raises Failed with pip's last words where the packages cannot be had."""
    folder = Path(sys.prefix) / "compare-library"
    python, done = folder / "bin" / "python", folder / "installed.txt"
    if done.exists() and done.read_text() == " ".join(PACKAGES):
        return python
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES])
    except subprocess.TimeoutExpired as error:
        raise Failed(f"it could not be installed within {INSTALL_S:.0f} s") from error
    done.write_text(" ".join(PACKAGES))
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    if done.returncode:
        words = [line for line in (done.stderr or done.stdout).splitlines() if "WARNING" not in line]
        raise Failed("it could not be installed: " + " ".join(words[-3:]))
