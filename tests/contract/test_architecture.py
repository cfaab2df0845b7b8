"""The architecture page names tests, files and import contracts that exist, in each of its tables and pictures."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "design" / "architecture.md").read_text(encoding="utf-8")
TASKS = {
    "add a metric",
    "change the log line of a request",
    "add an aggregation",
    "change `Retry-After`",
    "add a foreign protocol",
    "change the cache key",
    "add a setting to engine vllm",
    "show one more column in `rubricd score`",
    "add a preset",
    "change what a rollout reveals",
}


def _section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def _rows(heading: str) -> list[list[str]]:
    """The body of the section's first table, cell by cell."""
    lines = [line for line in _section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


LAWS = _rows("Laws and their tests")


@pytest.mark.parametrize("row", LAWS, ids=[row[0][:40] for row in LAWS])
def test_a_law_names_where_it_lives_and_a_test_that_exists(row: list[str]) -> None:
    law, places, tests = row
    lives = re.findall(r"`([\w./]+)`", places)
    assert lives, law
    assert [path for path in lives if not (ROOT / path).exists()] == []
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
    assert named, f"name a test as `tests/….py::test_…`: {law}"
    missing = [
        f"{path}::{test}"
        for path, test in named
        if not (ROOT / path).exists() or f"def {test}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_the_ten_tasks_take_four_existing_files_at_most() -> None:
    rows = _rows("Ten tasks")
    assert {row[0] for row in rows} == TASKS
    for task, files in rows:
        named = re.findall(r"`([\w./]+\.py)`", files)
        assert 1 <= len(named) <= 4, task
        assert [name for name in named if not (ROOT / name).exists()] == [], task


def test_a_part_that_is_written_by_hand_says_so_in_its_module() -> None:
    rows = _rows("Written by hand, and why")
    assert len(rows) >= 6
    for part, place, reason in rows:
        docstring = ast.get_docstring(ast.parse((ROOT / place.strip("`")).read_text(encoding="utf-8"))) or ""
        assert "written by hand" in docstring and reason, part


@pytest.mark.parametrize("heading", ["One request, from file to file", "One training step, from file to file"])
def test_the_pictures_name_files_that_exist(heading: str) -> None:
    named = re.findall(r"(?:service|trainer_client)/[\w/]+\.py|(?:service|trainer_client)/[\w/]+/", _section(heading))
    assert len(named) >= 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_floors_are_those_of_the_import_contracts() -> None:
    """Every module that a layers contract of the two packages names is in the page's table of floors."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = configuration["tool"]["importlinter"]["contracts"]
    floors = _section("Floors")
    for package in ("service", "trainer_client"):
        [layers] = [one["layers"] for one in contracts if one.get("containers") == [package]]
        names = {name for layer in layers for name in re.split(r"\s*[|:]\s*", layer)}
        assert {name for name in names if f"`{name}`" not in floors} == set(), package
