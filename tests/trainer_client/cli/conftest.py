"""A file of fifty responses."""

import json
from pathlib import Path

import pytest

from testkit.scripted_judge import items


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f"{json.dumps(item)}\n" for item in items(50)))
    return path
