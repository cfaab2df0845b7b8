"""Runs the tests of `contract/` against verl's real classes, each file in a process of its own: what verl imports
is in a folder that nothing else sees (`make .venv/verl`), with another antlr4 than ours. verl's own imports warn, so
warnings are no errors there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
VERL = ROOT / ".venv" / "verl"
FOLDER = Path("tests", "trainer_client", "verl", "contract")
FILES = sorted(one.name for one in (ROOT / FOLDER).glob("*.py") if "def test_" in one.read_text(encoding="utf-8"))


def test_every_file_of_the_folder_is_run() -> None:
    assert FILES == ["dropout.py", "losses.py", "rewards.py", "rollouts.py", "settings.py", "tools.py"]


@pytest.mark.parametrize("file", FILES)
def test_against_verls_real_classes(file: str, tmp_path: Path) -> None:
    assert (VERL / "verl").is_dir(), "verl's classes are not there: run `make .venv/verl`"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(VERL)]),
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    plain = ["-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    command = [sys.executable, "-m", "pytest", *plain, str(FOLDER / file)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout
