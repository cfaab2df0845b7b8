"""Holds what a judge answered in a study, in a file of JSON lines beside what it cost, so that a study can go on.

Guarantees: an answer is read back for the same judge and question, or not at all. What another attempt may bring is not
written. A last line that is cut off is removed before more is written; any other damage is an error.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from trainer_client.errors import DataError
from trainer_client.json_lines import whole_lines


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one question. Of the numbers those are there that its mode gives, where `status` is ok: `hard` and
    `soft` are points of criteria, `p` is P(a is better), `order_effect` what the order of a pair does to it."""

    status: str
    hard: float | None = None
    soft: float | None = None
    rating: float | None = None
    p: float | None = None
    order_effect: float | None = None
    disagrees: bool | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What answers cost. Tokens are the judge's; `seconds` are those of the wall while they were asked. What the
    service's cache answered cost none."""

    seconds: float = 0.0
    answers: int = 0
    judgements: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        mine, theirs = asdict(self), asdict(other)
        return Cost(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(slots=True)
class Store:
    """The answers of all judges of a study by judge and key, and their costs by judge and question."""

    _file: IO[str]
    _answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    _costs: dict[tuple[str, str], Cost] = field(default_factory=dict)

    def answer(self, judge: str, key: str) -> Answer | None:
        return self._answers.get((judge, key))

    def cost(self, judge: str, ask: str) -> Cost:
        """Of this run and of those before it."""
        return self._costs.get((judge, ask), Cost())

    def keep(self, judge: str, key: str, answer: Answer, *, final: bool) -> None:
        self._answers[judge, key] = answer
        if final:
            self._write({"judge": judge, "key": key, "answer": _present(answer)})

    def spend(self, judge: str, ask: str, cost: Cost) -> None:
        self._costs[judge, ask] = self.cost(judge, ask) + cost
        self._write({"judge": judge, "ask": ask, "cost": asdict(cost)})

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(f"{json.dumps(line)}\n")
        self._file.flush()


def _present(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in asdict(answer).items() if value is not None}


@contextlib.contextmanager
def open_store(path: Path) -> Iterator[Store]:
    """The answers that are there, and the place of new ones. Raises DataError."""
    lines = list(_lines(path)) if path.exists() else []
    with path.open("a", encoding="ascii", newline="\n") as file:
        store = Store(file)
        for number, line in enumerate(lines, 1):
            try:
                judge = line["judge"]
                if "cost" in line:
                    store._costs[judge, line["ask"]] = store.cost(judge, line["ask"]) + Cost(**line["cost"])
                else:
                    store._answers[judge, line["key"]] = Answer(**line["answer"])
            except (LookupError, TypeError):
                raise DataError(f"{path}, line {number}: not a line of such a study; name another file") from None
        yield store


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("r+b") as file:
        for number, text in whole_lines(file):
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if not isinstance(line, dict):
                raise DataError(f"{path}, line {number}: not a line of such a study; name another file")
            yield line
