"""Keeps a judge's verdicts on labelled rows in a file of JSON lines, so that a run can be interrupted and resumed.

Guarantees: a verdict is read back for the same item, options and judge, or not at all. Verdicts that another attempt
may change are not written. A last line that is cut off is removed before more is written; any other damage is an error.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, Any

from trainer_client.errors import DataError
from trainer_client.json_lines import whole_lines


@dataclass(frozen=True, slots=True)
class Given:
    """A criterion's part of an answer."""

    status: str
    met: bool | None
    p: float | None
    p_raw: float | None
    label_mass: float | None
    source: str | None
    level: int | None = None
    p_levels: tuple[float, ...] | None = None
    p_levels_raw: tuple[float, ...] | None = None
    """Of a graded criterion, as the judge gave it, where a calibration changed it."""


_PLAIN = len(Given.__slots__) - 3
"""So many fields has what a line holds of a criterion that is met or not."""


def _written(given: Given) -> tuple[Any, ...]:
    fields = astuple(given)
    return fields if given.p_levels is not None else fields[:_PLAIN]


def _graded(fields: list[Any]) -> tuple[Any, ...]:
    if not fields:
        return ()
    level, p_levels, raw = fields
    return level, tuple(map(float, p_levels)), None if raw is None else tuple(map(float, raw))


class Verdicts:
    """The verdicts of one judge by key, in the order of each item's rubric."""

    def __init__(self, judge: str, file: IO[str] | None, known: Mapping[str, tuple[Given, ...]]) -> None:
        self._judge = judge
        self._file = file
        self._known = dict(known)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> tuple[Given, ...]:
        return self._known[key]

    def keep(self, key: str, given: tuple[Given, ...], *, final: bool) -> None:
        self._known[key] = given
        if self._file is not None and final:
            line = {"key": key, "judge": self._judge, "criteria": [_written(one) for one in given]}
            self._file.write(f"{json.dumps(line)}\n")
            self._file.flush()


@contextlib.contextmanager
def open_verdicts(path: Path | None, judge: str, keys: frozenset[str]) -> Iterator[Verdicts]:
    """The verdicts of this judge on these keys, and the place of new ones; without a path in memory alone. Raises
    DataError."""
    if path is None:
        yield Verdicts(judge, None, {})
        return
    known = _read(path, judge, keys) if path.exists() else {}
    with path.open("a", encoding="ascii", newline="\n") as file:
        yield Verdicts(judge, file, known)


def is_store(path: Path) -> bool:
    """Whether the first line of a file is one that a run over labels wrote."""
    with path.open("rb") as file:
        try:
            line = json.loads(file.readline())
        except ValueError:
            return False
    return isinstance(line, dict) and line.keys() == {"key", "judge", "criteria"}


def stored(path: Path) -> Iterator[tuple[str, str, list[Given]]]:
    """The key, the judge and the verdicts of each line, without a last one that is cut off. Raises DataError."""
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if text.endswith(b"\n"):
                key, by, criteria = _line(text, f"{path}, line {number}")
                yield key, by, [Given(*one) for one in criteria]


def _read(path: Path, judge: str, keys: frozenset[str]) -> dict[str, tuple[Given, ...]]:
    known: dict[str, tuple[Given, ...]] = {}
    with path.open("r+b") as file:
        for number, text in whole_lines(file):
            key, by, criteria = _line(text, f"{path}, line {number}")
            if by == judge and key in keys:
                known[key] = tuple(Given(*one[:_PLAIN], *_graded(one[_PLAIN:])) for one in criteria)
    return known


def _line(text: bytes, place: str) -> tuple[str, str, list[Any]]:
    try:
        line = json.loads(text)
        key, judge, criteria = str(line["key"]), str(line["judge"]), line["criteria"]
        if not all(isinstance(one, list) and len(one) in (_PLAIN, len(Given.__slots__)) for one in criteria):
            raise ValueError
    except (ValueError, LookupError, TypeError):
        raise DataError(f"{place}: not a line that a run over labels wrote; name another file") from None
    return key, judge, criteria
