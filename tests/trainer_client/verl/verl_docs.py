"""Runs the code block of docs/guide/verl.md as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

DOC = Path(__file__).parents[3] / "docs" / "guide" / "verl.md"
ROWS = (
    '{"id": "knee", "prompt": "My knee hurts.", "rubric": [{"text": "Says to see a doctor.", "points": 5}]}\n'
    '{"id": "back", "prompt": "My back hurts.", "rubric": [{"text": "Asks since when.", "points": 2}]}\n'
)


def block() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    return str(code)


def recipe(folder: Path) -> str:
    """What the recipe prints, run in a folder with the two files of rows that it reads."""
    for name in ("train.jsonl", "val.jsonl"):
        (folder / name).write_text(ROWS, encoding="utf-8")
    root = str(DOC.parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", block()]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
