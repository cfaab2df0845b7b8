"""Keeps what a long evaluation finds in a file of JSON lines under keys, so that a killed command goes on.

Guarantees: what was kept is found again, or not at all. A last line that is cut off is removed before more is written;
any other damage is an error.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_client.errors import DataError
from trainer_client.json_lines import whole_lines


class KeptLines:
    """The lines of one file whose `about` is this one's, by key. Raises DataError for a file that it did not write."""

    def __init__(self, path: Path, about: str) -> None:
        self._about = about
        self._known: dict[str, Mapping[str, Any]] = {}
        self._file = path.open("a+b")
        for number, text in whole_lines(self._file):
            try:
                line = json.loads(text)
                if line["about"] == about:
                    self._known[str(line["key"])] = dict(line["kept"])
            except (ValueError, LookupError, TypeError):
                self._file.close()
                raise DataError(f"{path}, line {number}: no line of an evaluation; name another folder") from None

    def __enter__(self) -> "KeptLines":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def find(self, key: str) -> Mapping[str, Any] | None:
        return self._known.get(key)

    def keep(self, key: str, kept: Mapping[str, Any], *, final: bool = True) -> None:
        """It is with the operating system when this returns, so that a kill does not lose it. What is not `final` is
        known to this run alone."""
        self._known[key] = kept
        if final:
            self._file.write(f"{json.dumps({'key': key, 'about': self._about, 'kept': dict(kept)})}\n".encode())
            self._file.flush()
