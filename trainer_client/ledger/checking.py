"""Reads a ledger of verdicts, and checks that lines were only added to it.

Guarantees: a last line that is torn is left out and told; it is no sign of a change. Any other difference from what was
written is a problem with its file and line: a changed, removed or inserted line, a file that is cut short, and a file
that is missing between others. What no file follows cannot be checked: whoever takes away the newest lines of all
leaves no trace in the others.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.errors import DataError
from trainer_client.ledger import chain
from trainer_client.ledger.writing import PATTERN


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One file as it stands: its first line, the links of its lines, and what is wrong with it. `links[0]` is that of
    the first line."""

    path: Path
    head: Mapping[str, Any]
    links: Sequence[str]
    problems: Sequence[str]
    torn: bool

    @property
    def entries(self) -> int:
        return max(0, len(self.links) - 1)


@dataclass(slots=True)
class Report:
    """What was checked. The ledger is as it was written where there are no `problems`; `notes` are what to know."""

    files: int = 0
    entries: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files of a ledger, the oldest first, from folders and files. Raises DataError where there is none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += path.glob(PATTERN)
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path}: there is no such file or folder")
    if not found:
        raise DataError(f"{', '.join(map(str, paths))}: no file of a ledger (ledger-….jsonl)")
    return sorted(set(found), key=lambda path: (path.parent, path.name))


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The verdicts of one file, without its first line and a torn last one. Raises DataError for what is no line."""
    with path.open("rb") as file:
        for number, raw in enumerate(file):
            if not raw.endswith(b"\n"):
                return
            if number:
                try:
                    yield wire.read_json(raw)
                except wire.JsonFault as fault:
                    raise DataError(f"{path}, line {number + 1}: not JSON ({fault})") from None


def check(paths: Sequence[Path]) -> Report:
    """Checks all files by themselves and against each other. Raises DataError where there is nothing to check."""
    report, checked = Report(), {}
    for path in files_of(paths):
        one = checked[path.name] = check_file(path)
        report.files += 1
        report.entries += one.entries
        report.problems += one.problems
        if one.torn:
            report.notes.append(f"{path}: its last line is torn and is left out; the process was killed meanwhile")
    for name in sorted(checked):
        _follow(checked[name], checked, report)
    return report


def check_file(path: Path) -> CheckedFile:
    """The links of one file, up to the first line that does not follow from the one before."""
    head: Mapping[str, Any] = {}
    links: list[str] = []
    problems: list[str] = []
    torn = False
    with path.open("rb") as file:
        for number, raw in enumerate(file):
            if not raw.endswith(b"\n"):
                torn = number > 0 or raw.startswith(_BEGINNING) or _BEGINNING.startswith(raw)
                if not torn:
                    problems.append(f"{path}, line 1: it is not the first line of a ledger")
                break
            raw = raw[:-1]
            if number == 0:
                head = _head(raw)
                if not head:
                    problems.append(f"{path}, line 1: it is not the first line of a ledger")
                    break
                before = (head.get("previous") or {}).get("chain", chain.NOTHING)
            else:
                before = links[-1]
            link = chain.link_of(raw, before)
            if link is None:
                problems.append(f"{path}, line {number + 1}: it does not follow from the lines before it")
                break
            links.append(link)
    if not links and not problems and not torn:
        problems.append(f"{path}: it is empty")
    return CheckedFile(path, head, links, problems, torn)


_BEGINNING = b'{"ledger":'
"""Of a ledger's first line, also where its writer was killed while it wrote that."""


def _head(raw: bytes) -> Mapping[str, Any]:
    try:
        line = json.loads(raw)
    except ValueError:
        return {}
    return line if isinstance(line, dict) and "ledger" in line and line.get("n") == 0 else {}


def _follow(one: CheckedFile, checked: Mapping[str, CheckedFile], report: Report) -> None:
    """Checks what a file says of the one that it follows."""
    previous = one.head.get("previous")
    if previous is None:
        return
    before = checked.get(previous["file"])
    if before is None:
        older = any(name < one.path.name for name in checked)
        if older:
            report.problems.append(f"{one.path}: it follows {previous['file']}, which is missing")
        else:
            report.notes.append(f"{one.path}: it follows {previous['file']}, which is older and not here")
        return
    lines, same_writer = previous["n"], before.head.get("writer") == one.head.get("writer")
    if len(before.links) <= lines:
        if not before.problems:
            report.problems.append(f"{before.path}: it has {before.entries} verdicts, and had {lines}")
    elif before.links[lines] != previous["chain"]:
        report.problems.append(f"{before.path}, line {lines + 1}: another line stood there when {one.path.name} began")
    elif same_writer and before.entries > lines:
        report.problems.append(f"{before.path}: lines were added after {one.path.name} began")
