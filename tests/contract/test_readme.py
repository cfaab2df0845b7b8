"""The README fits on a screen or two, its promises name tests that exist, and its code is what it says."""

import ast
import re
from pathlib import Path

import pytest

from testkit.tutorial import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROMISES = re.findall(r"^\| (.+?) \| `(tests/[\w/]+\.py)::(\w+)` \|$", README, re.M)
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def _tests_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_are_promises_and_every_row_has_its_test() -> None:
    table = README.partition("## Promises")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(PROMISES) == len(rows) - 1 >= 10


@pytest.mark.parametrize(("promise", "file", "test"), PROMISES, ids=[test for _, _, test in PROMISES])
def test_a_promise_names_a_test_that_exists(promise: str, file: str, test: str) -> None:
    assert (ROOT / file).exists() and test in _tests_of(ROOT / file), promise


def test_every_number_names_a_command_that_exists() -> None:
    table = README.partition("## Numbers")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    commands = re.findall(r"\| `(make|python -m) ([a-z-]+)[^`]*` \|$", table, re.M)
    assert len(commands) == len(rows) >= 4
    assert all(name in TARGETS if how == "make" else (ROOT / name).is_dir() for how, name in commands)


def test_it_is_short() -> None:
    blocks = {language: text for language, text in re.findall(r"^```(\w+)\n(.*?)^```", README, re.S | re.M)}
    assert len(README.splitlines()) <= 105
    assert len(blocks["python"].strip().splitlines()) <= 12 and blocks["console"].count("$ ") == 2
    first = README.partition("\n\n")[2].partition("\n\n")[0]
    assert len(re.findall(r"\.(?=\s|$)", first)) == 3, "what it is, in three sentences"
    ast.parse(blocks["python"])
