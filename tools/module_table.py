"""Writes the table of modules in the architecture page: each module's path and the first sentence of its docstring.

python -m tools.module_table
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "design" / "architecture.md"
PACKAGES = ("service", "trainer_client")
_TABLE = re.compile(r"(?<=<!-- modules -->\n).*?(?=<!-- end of modules -->)", re.S)


def table() -> str:
    """Markdown, a row a module."""
    rows = [f"| `{path.relative_to(ROOT)}` | {sentence(path)} |" for path in modules()]
    return "\n".join(["| module | content |", "|---|---|", *rows, ""])


def modules() -> Iterator[Path]:
    """The modules that hold code, folder by folder."""
    for package in PACKAGES:
        found = (path for path in (ROOT / package).rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))
        yield from sorted(found, key=lambda path: (len(path.parts), path))


def sentence(path: Path) -> str:
    """The first sentence of a module's docstring. Raises ValueError where there is no docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{path.relative_to(ROOT)} has no docstring")
    first = re.split(r"(?<=\.) ", re.sub(r"\s+", " ", text.split("\n\n")[0]))[0]
    return first.rstrip(".").replace("|", "\\|")


def written(page: str) -> str:
    """The page with the table of today."""
    if not _TABLE.search(page):
        raise ValueError("the page has no place for the table: <!-- modules -->")
    return _TABLE.sub(lambda _: table(), page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
