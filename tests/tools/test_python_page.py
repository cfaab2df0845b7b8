"""The page of the Python API has what the package gives, in the words of its source, and what the pages import."""

import re

import pytest

import trainer_client
from tools import python_page
from tools.python_page import OTHERS
from trainer_client import errors
from trainer_client.http.options import ScoreOptions

ROOT = python_page.ROOT
PAGE = python_page.page("")


def _imports() -> set[tuple[str, str]]:
    """What the blocks of code of pages and the examples import from the client's modules."""
    files = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", *(ROOT / "examples").glob("*.py")]
    found = re.compile(r"^ *from (trainer_client(?:\.[\w.]+)?) import ([\w, ]+)", re.M)
    lines = [line for file in files for line in found.findall(file.read_text(encoding="utf-8"))]
    return {(module, name.strip()) for module, names in lines for name in names.split(",")}


def test_whatever_a_page_imports_is_on_it() -> None:
    known = {("trainer_client", name) for name in trainer_client.__all__}
    known |= {(module, name) for module, names in OTHERS.items() for name in names}
    assert len(_imports()) > 10
    assert _imports() - known == set()


def test_everything_that_it_names_says_what_it_is() -> None:
    sections = re.split(r"^#{2,4} ", PAGE, flags=re.M)[1:]
    assert len(sections) > 40
    said = {
        name: re.sub(r"```python.*?```", "", text, flags=re.S)
        for name, _, text in (one.partition("\n") for one in sections)
    }
    assert [name for name, text in said.items() if not text.strip()] == []


def test_signatures_are_the_sources() -> None:
    assert "async def judge(name: str | None = None) -> wire.JudgeInfo" in PAGE
    assert "    concurrency: int = 8,\n" in PAGE and "Annotated[" not in PAGE and "<class" not in PAGE
    assert "def ready() -> bool" not in PAGE.replace("async def ready() -> bool", ""), "the client without a loop"


def test_options_and_errors_are_complete() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", PAGE.partition("## ScoreOptions")[2].partition("\n## ")[0], re.M))
    assert rows.keys() == ScoreOptions.__annotations__.keys()
    assert [name for name, row in rows.items() if row.endswith("|  |")] == []
    tree = re.findall(r"─ (\w+)", errors.__doc__ or "")
    assert len(tree) > 20 and [name for name in tree if f"`{name}` |" not in PAGE] == []


@pytest.mark.parametrize("line", ["`quota_exceeded` | yes", "`judge_mismatch` | no"])
def test_an_error_says_whether_it_may_be_retried(line: str) -> None:
    assert line in PAGE
