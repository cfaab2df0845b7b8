"""Writes a ledger of verdicts: files of JSON lines to which lines are only added, a new file where one is full.

Each process writes files of its own. The first line of a file says which file it follows, how many lines that one had,
and the link of its last one: a file that is cut short, changed or taken away is found by the one that follows it.

Guarantees: a line is written whole or, after a fault of the disk, taken off again. A file of another process is left
alone, and so is one in which a write has failed; one that could not be begun is removed, however often that fails.
"""

import contextlib
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.ledger import chain

VERSION = 1
PATTERN = "ledger-*.jsonl"
MAX_BYTES = 64 * 1024 * 1024
_TAIL_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a file: its name, its lines without the first, and the link of the last."""

    file: str
    lines: int
    chain: str


class LedgerWriter:
    """The files of one process in a folder. `about` is in the first line of each: names and numbers, no texts."""

    def __init__(self, folder: Path, about: Mapping[str, Any] | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._about = dict(about or {})
        self._max_bytes = max_bytes
        self._writer = secrets.token_hex(4)
        self._files = 0
        self._tail: Tail | None = None
        self._bytes = 0
        self._goes_on = False

    def write(self, entries: Iterable[Mapping[str, Any]], now_s: float) -> int:
        """Adds a line for each entry and returns how many. Raises OSError; then none of them is in the ledger."""
        tail = self._current(now_s)
        lines, link = [], tail.chain
        for number, entry in enumerate(entries, tail.lines + 1):
            raw, link = chain.sealed({"n": number, "time": round(now_s, 3), **entry}, link)
            lines.append(raw)
        if not lines:
            return 0
        self._add(tail.file, b"\n".join(lines) + b"\n")
        self._tail = Tail(tail.file, tail.lines + len(lines), link)
        return len(lines)

    def _current(self, now_s: float) -> Tail:
        """The end of the file that is written to: a new one at first, where one is full, and after a fault."""
        if self._tail is not None and self._goes_on and self._bytes < self._max_bytes:
            return self._tail
        self._folder.mkdir(parents=True, exist_ok=True)
        before = self._tail or newest(self._folder)
        number = self._files + 1
        stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%S")
        name = f"ledger-{stamp}-{self._writer}-{number:05}.jsonl"
        head = {
            "ledger": VERSION,
            "writer": self._writer,
            "file": number,
            "started": round(now_s, 3),
            "about": self._about,
            "previous": None if before is None else {"file": before.file, "n": before.lines, "chain": before.chain},
            "n": 0,
        }
        raw, link = chain.sealed(head, chain.NOTHING if before is None else before.chain)
        self._bytes = 0
        try:
            self._add(name, raw + b"\n", new=True)
        except OSError:  # a full disk would get an empty file for each request otherwise
            with contextlib.suppress(OSError):
                (self._folder / name).unlink()
            raise
        self._files = number
        self._tail = Tail(name, 0, link)
        return self._tail

    def _add(self, name: str, raw: bytes, *, new: bool = False) -> None:
        """Adds bytes to a file. What it returns from is with the operating system, also if the process is killed."""
        self._goes_on = False
        kind = os.O_CREAT | os.O_EXCL if new else 0  # a file that somebody took away is not begun again
        file = os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | kind, 0o644)
        try:
            left = memoryview(raw)
            while left:
                left = left[os.write(file, left) :]
        except OSError:
            with contextlib.suppress(OSError):  # what was written of it goes, so that every line is whole
                os.ftruncate(file, self._bytes)
            raise
        finally:
            os.close(file)
        self._bytes += len(raw)
        self._goes_on = True


def newest(folder: Path) -> Tail | None:
    """The end of the newest file in the folder that has a whole line; None without one."""
    for file in sorted(folder.glob(PATTERN), reverse=True):
        if (found := _tail_of(file)) is not None:
            return found
    return None


def _tail_of(file: Path) -> Tail | None:
    with file.open("rb") as opened:
        opened.seek(0, os.SEEK_END)
        opened.seek(max(0, opened.tell() - _TAIL_BYTES))
        *whole, _ = opened.read().split(b"\n")  # what follows the last end of line is a torn line, or nothing
    if not whole:
        return None
    try:
        link, line = chain.said_link(whole[-1]), wire.read_json(whole[-1])
    except wire.JsonFault:
        return None
    number = line.get("n")
    return Tail(file.name, number, link) if link is not None and type(number) is int else None
