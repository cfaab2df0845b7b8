"""Reads the tables of `docs/operate/operations.md`, which in the documentation's site stand in the reference.

Guarantees: the page in the repository stays as it is; in the site each table stands once.
"""

import re
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "operate" / "operations.md"
REFERENCES: Mapping[str, str] = {
    "Settings": "settings",
    "Errors of a request": "errors",
    "Metrics": "metrics",
    "Alerts": "alerts",
}
"""The headings whose tables are in the reference, and the names of its pages."""
_LINK = re.compile(r"\]\(([a-z-]+\.md)")
_CELLS = re.compile(r"(?<!\\)\|")


def rows(heading: str) -> Mapping[str, list[str]]:
    """The table under the heading: the name in its first cell to the other cells, with links from the reference."""
    section = _section(PAGE.read_text(encoding="utf-8"), heading)
    lines = [line.strip().strip("|") for line in section.splitlines() if line.startswith(("| `", "| [`"))]
    lines = [_LINK.sub(r"](../operate/\1", line).replace("](#", "](../operate/operations.md#") for line in lines]
    cells = [[cell.strip() for cell in _CELLS.split(line)] for line in lines]
    return {re.findall(r"`([^`]+)`", first)[0]: others for first, *others in cells}


def without_tables(text: str) -> str:
    """The page with a link to the reference in place of each table that stands there."""
    for heading, name in REFERENCES.items():
        section = _section(text, heading)
        before, *_ = re.split(r"^(?=\||### )", section, maxsplit=1, flags=re.M)
        after = section[len(before) :]
        kept = "".join(line for line in after.splitlines(keepends=True) if not line.startswith(("|", "### ")))
        link = f"[The table](../reference/{name}.md) is in the reference.\n\n"
        text = text.replace(section, re.sub(r"\n{3,}", "\n\n", f"{before}{link}{kept}"))
    return text


def _section(text: str, heading: str) -> str:
    _, found, after = text.partition(f"\n## {heading}\n")
    if not found:
        raise LookupError(f"operations.md has no heading {heading}")
    section, more, _ = after.partition("\n## ")
    return section + "\n" if more else section
