"""Reads the labelled set of the lint, and counts what its rules find there."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.lint.rules import lint

FOLDER = Path(__file__).parent
OF_A_CRITERION = (
    "double_negation",
    "rewarded_fault",
    "compound",
    "vague",
    "generic",
    "unobservable",
    "category_prefix",
    "untidy_text",
)
OF_A_PAIR = ("near_duplicate", "contradiction", "duplicate_text")
_OTHER = {"text": "Zzz q1.", "points": 1}
_ESCAPES = {"\\n": "\n", "\\u00a0": "\u00a0", "\\u200b": "\u200b"}


@dataclass(frozen=True)
class Case:
    """A rubric, and of these rules what each should say of it: pairs of a code and a criterion's id."""

    rubric: wire.Rubric
    codes: tuple[str, ...]
    wanted: frozenset[tuple[str, str | None]]
    aggregation: Any = "healthbench"
    reference: str | None = None

    @cached_property
    def found(self) -> frozenset[tuple[str, str | None]]:
        every = lint(self.rubric, self.aggregation, self.reference)
        return frozenset((one.code, one.criterion) for one in every if one.code in self.codes)


@dataclass(frozen=True, slots=True)
class Count:
    right: int
    wrong: int
    missed: int

    @property
    def words(self) -> str:
        """As the page shows it: precision and recall, each with its counts."""
        found, there = self.right + self.wrong, self.right + self.missed
        return " | ".join(f"{self.right / of:.2f} ({self.right} of {of})" if of else "-" for of in (found, there))


def criteria(name: str) -> Iterator[Case]:
    for points, codes, text in _lines(name, 3):
        for escape, character in _ESCAPES.items():
            text = text.replace(escape, character)
        rubric = wire.Rubric.model_validate([{"text": text, "points": float(points)}, _OTHER])
        wanted = [] if codes == "-" else codes.split(",")
        yield Case(rubric, OF_A_CRITERION, frozenset((code, "0") for code in wanted))


def pairs(name: str) -> Iterator[Case]:
    for first, second, code, text, other in _lines(name, 5):
        rubric = wire.Rubric.model_validate(
            [{"text": text, "points": float(first)}, {"text": other, "points": float(second)}]
        )
        yield Case(rubric, OF_A_PAIR, frozenset() if code == "-" else frozenset({(code, "1")}))


def rubrics(codes: tuple[str, ...]) -> Iterator[Case]:
    for line in (FOLDER / "rubrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        wanted = frozenset((code, id) for code, ids in row["fires"].items() for id in ids if code in codes)
        rubric = wire.Rubric.model_validate(row["rubric"])
        yield Case(rubric, codes, wanted, row.get("aggregation", "healthbench"), row.get("reference"))


def counted(cases: list[Case], code: str) -> Count:
    def number(of: frozenset[tuple[str, str | None]]) -> int:
        return sum(own == code for own, _ in of)

    cases = [one for one in cases if code in one.codes]
    return Count(
        right=sum(number(one.found & one.wanted) for one in cases),
        wrong=sum(number(one.found - one.wanted) for one in cases),
        missed=sum(number(one.wanted - one.found) for one in cases),
    )


def _lines(name: str, fields: int) -> Iterator[list[str]]:
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line.split(" | ", fields - 1)
