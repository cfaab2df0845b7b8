"""Draws tables and progress as plain text: what the commands use of rich, for where rich is not installed.

Guarantees: nothing is left out of a table; a cell that does not fit makes its line longer.
"""

import os
import sys
from collections.abc import Callable
from typing import Any, TextIO


class Text(str):
    """A text without its style."""

    def __new__(cls, text: str = "", style: str = "") -> "Text":
        return super().__new__(cls, text)

    @classmethod
    def assemble(cls, *parts: Any) -> "Text":
        return cls("".join(part[0] if isinstance(part, tuple) else str(part) for part in parts))


class Table:
    """Columns beside each other, as wide as their widest cells."""

    def __init__(self, *, show_header: bool = True, **_: Any) -> None:
        self.caption: str | None = None
        self.expand = False
        self._show_header = show_header
        self._names: list[str] = []
        self._right: list[bool] = []
        self._rows: list[tuple[str, ...]] = []

    def add_column(self, name: str = "", *, justify: str = "left", **_: Any) -> None:
        self._names.append(name)
        self._right.append(justify == "right")

    def add_row(self, *cells: str) -> None:
        self._rows.append((*map(str, cells), *[""] * (len(self._names) - len(cells))))

    def add_section(self) -> None: ...

    def lines(self) -> list[str]:
        rows = [tuple(self._names), *self._rows] if self._show_header else self._rows
        widths = [max((len(row[at]) for row in rows), default=0) for at in range(len(self._names))]
        drawn = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, self._right, strict=True)
            ).rstrip()
            for row in rows
        ]
        return drawn if self.caption is None else [*drawn, self.caption]


class Console:
    def __init__(self, *, stderr: bool = False, file: TextIO | None = None, **_: Any) -> None:
        self._stderr, self._file = stderr, file

    @property
    def is_terminal(self) -> bool:
        return self._to.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def _to(self) -> TextIO:
        return self._file or (sys.stderr if self._stderr else sys.stdout)

    def print(self, shown: Any = "", **_: Any) -> None:
        print("\n".join(shown.lines()) if isinstance(shown, Table) else shown, file=self._to)


class ProgressColumn:
    """A part of rich's bars. There is one line of numbers here instead."""

    def __init__(self, *_: Any, **__: Any) -> None: ...


class Task:
    finished_speed: float | None = None
    speed: float | None = None


BarColumn = MofNCompleteColumn = TextColumn = TimeRemainingColumn = ProgressColumn


class Progress:
    """One line on a terminal that is written again and again, and is gone at the end."""

    def __init__(self, *_: Any, console: Console, disable: bool = False, transient: bool = True) -> None:
        self._write: Callable[[str], object] = (lambda text: None) if disable else sys.stderr.write
        self._done, self._total = 0, 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._write("\r" + " " * 60 + "\r")

    def add_task(self, _: str, *, total: int, more: str) -> int:
        self._total = total
        return 0

    def update(self, _: int, *, advance: int, more: str) -> None:
        self._done += advance
        self._write(f"\r{self._done} of {self._total} {more}"[:60])
