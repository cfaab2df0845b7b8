"""Keeps what a proposer answered, and that it failed, so that a resumed run hears the same and pays nothing twice.

Guarantees: a group is found by everything that was asked about it. A last line that is cut off is removed before more
is written; any other damage is an error.
"""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from trainer_client.errors import DataError
from trainer_client.json_lines import whole_lines
from trainer_client.live_rubrics.evolution import Proposal
from trainer_client.live_rubrics.proposing import Group, checked

Answer = list[Proposal] | str
"""The proposals, or why there are none."""


def key_of(group: Group, *, step: int, proposer: str, most: int) -> str:
    """The SHA-256 of what is asked: the group, the step, the proposer and how many criteria."""
    asked = [asdict(group), step, proposer, most]
    return sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Journal:
    """The answers in one file of JSON lines, by key. Raises DataError for a file that it cannot use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Answer] = self._read() if path.exists() else {}

    def find(self, key: str) -> Answer | None:
        return self._known.get(key)

    def keep(self, key: str, row: str, step: int, answer: Answer) -> None:
        """Writes an answer. It is with the operating system when this returns, so that a kill does not lose it."""
        said = {"error": answer} if isinstance(answer, str) else {"criteria": [asdict(one) for one in answer]}
        line = json.dumps({"key": key, "row": row, "batch": step, **said})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(f"{line}\n".encode())
        self._known[key] = answer

    def _read(self) -> dict[str, Answer]:
        known: dict[str, Answer] = {}
        try:
            with self._path.open("r+b") as file:
                lines = list(whole_lines(file))
        except OSError as error:
            raise DataError(f"{self._path}: {error.strerror or error}") from None
        for number, line in lines:
            try:
                told = json.loads(line)
                known[str(told["key"])] = _answer(told)
            except (ValueError, LookupError, TypeError):
                raise DataError(f"{self._path}, line {number}: not a proposer's answer; bring the file back") from None
        return known


def _answer(told: Any) -> Answer:
    return str(told["error"]) if "error" in told else checked(told["criteria"])
