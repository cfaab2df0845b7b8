"""A file of fifty responses, and one of six prompts."""

import json
from pathlib import Path

import pytest

from testkit.scripted_judge import items


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f"{json.dumps(item)}\n" for item in items(50)))
    return path


_RUBRIC = [
    {"criterion": "Is kind.", "points": 5, "tags": ["axis:a"]},
    {"criterion": "Lies.", "points": -3, "tags": ["axis:b"]},
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Rows as HealthBench publishes them."""
    made = [
        {"prompt": f"Question {n}?", "rubrics": _RUBRIC, "example_tags": [f"theme:t{n % 2}"], "id": f"r{n}"}
        for n in range(6)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in made))
    return path
