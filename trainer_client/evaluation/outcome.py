"""Defines what an evaluation found: measures over prompts and seeds, tables and curves; and compares two of them.

Guarantees: an evaluation that was written as JSON is read back with the same values. Two are compared only where they
are of one kind; each measure on the prompts that both have.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_client.errors import DataError
from trainer_client.evaluation.seeds import OverSeeds, Paired, Values, over_seeds, paired

VERSION = 1


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a policy. `values` are of each prompt and seed. With `weights` of the prompts it is a weighed mean,
    which is not compared in pairs. With `clips` means are clipped to 0..1 after averaging. With `shares` each value is
    in 0..1."""

    name: str
    about: str
    values: Values
    weights: Mapping[str, float] | None = None
    clips: bool = False
    shares: bool = False

    def over_seeds(self) -> OverSeeds:
        return over_seeds(self.values, weights=self.weights, clips=self.clips, shares=self.shares)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a report; the first cell of each is its name."""

    heading: str
    about: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | float | int | None]]


@dataclass(frozen=True, slots=True)
class Curves:
    """Lines over sizes 1, 2, 4, …: by name, a value and its interval at each size, None where there is none."""

    heading: str
    about: str
    across: str
    sizes: Sequence[int]
    lines: Mapping[str, Sequence[tuple[float, float | None, float | None] | None]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`kind` names what was evaluated and `policy` whom. `judge` is the wire's, None where none was asked. `notes` are
    sentences that a reader needs; `details` are more figures, for the JSON alone. `missing` counts what has no
    value."""

    kind: str
    policy: str
    measures: tuple[Measure, ...]
    judge: Mapping[str, Any] | None = None
    tables: tuple[Table, ...] = ()
    curves: tuple[Curves, ...] = ()
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    missing: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "evaluation": self.kind,
            "policy": self.policy,
            "judge": None if self.judge is None else dict(self.judge),
            "measures": {
                one.name: {"about": one.about, **one.over_seeds().as_json(), "values": dict(one.values)}
                for one in self.measures
            },
            "details": dict(self.details),
            "missing": self.missing,
            "notes": list(self.notes),
            "cost": dict(self.cost),
        }


@dataclass(frozen=True, slots=True)
class Earlier:
    """An evaluation that was written before, to compare with. `judge` is its fingerprint."""

    kind: str
    policy: str
    judge: str | None
    values: Mapping[str, Values]


def read_earlier(path: Path) -> Earlier:
    """Raises DataError."""
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        return Earlier(
            str(written["evaluation"]),
            str(written["policy"]),
            (written["judge"] or {}).get("fingerprint"),
            {str(name): dict(one["values"]) for name, one in written["measures"].items()},
        )
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise DataError(f"{path}: not the results.json of an evaluation") from None


def compare(found: Evaluation, earlier: Earlier) -> dict[str, Paired]:
    """The measures of an evaluation less those of the other policy's. Raises DataError where they are of two kinds."""
    if found.kind != earlier.kind:
        raise DataError(f"an evaluation of {earlier.kind} cannot be compared with one of {found.kind}")
    return {
        one.name: paired(one.values, earlier.values[one.name])
        for one in found.measures
        if one.weights is None and one.name in earlier.values
    }
