"""Counts what a generation gave: rubrics, criteria, what was merged, found, refused and dropped.

Guarantees: every row is counted once, by its state. Counts of criteria are of rubrics that were written.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from trainer_client.generation.run import Outcome


@dataclass(slots=True)
class Tally:
    """`first` and `last` count findings by code, of first drafts and of rubrics as they were written."""

    states: Counter[str] = field(default_factory=Counter)
    criteria: int = 0
    merged: int = 0
    refused: int = 0
    rounds: int = 0
    with_error: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    points: Counter[float] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    references: Counter[str] = field(default_factory=Counter)
    first: Counter[str] = field(default_factory=Counter)
    last: Counter[str] = field(default_factory=Counter)
    whys: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        self.states[outcome.state] += 1
        if outcome.why is not None:
            self.whys[outcome.why] += 1
        self.refused += outcome.refused
        if outcome.written is None:
            return
        written, draft = outcome.written, outcome.written.draft
        self.refused += written.refused
        self.rounds += written.rounds
        if outcome.state != "written":
            return
        self.merged += len(draft.merged)
        self.criteria += len(draft.rubric.criteria)
        self.sizes[len(draft.rubric.criteria)] += 1
        self.points.update(one.worth for one in draft.rubric.criteria)
        self.categories.update(one.category for one in draft.rubric.criteria if one.category)
        self.references[written.reference] += 1
        self.first.update(one.code for one in written.first)
        self.last.update(one.code for one in draft.findings)
        self.with_error += draft.weight[0] > 0

    @property
    def rows(self) -> int:
        return self.states.total()

    @property
    def written(self) -> int:
        return self.states["written"]

    @property
    def complete(self) -> bool:
        """Whether each row has a rubric without errors, or one that was dropped on purpose."""
        return not self.states["failed"] and not self.with_error

    def as_json(self) -> dict[str, Any]:
        """The counts for a summary."""
        return {
            "rows": self.rows,
            "written": self.written,
            "failed": self.states["failed"],
            "dropped": self.states["dropped"],
            "with_error": self.with_error,
            "criteria": self.criteria,
            "criteria_per_rubric": self.criteria / self.written if self.written else None,
            "merged": self.merged,
            "drafts_refused": self.refused,
            "lint_rounds": self.rounds,
            "sizes": {str(size): count for size, count in sorted(self.sizes.items())},
            "points": {f"{points:g}": count for points, count in sorted(self.points.items())},
            "categories": dict(self.categories),
            "references": dict(self.references),
            "findings_first": dict(self.first.most_common()),
            "findings_left": dict(self.last.most_common()),
            "failures": dict(self.whys.most_common(20)),
        }

    def __str__(self) -> str:
        each = f", {self.criteria / self.written:.1f} criteria each" if self.written else ""
        parts = [f"{self.written:,} rubrics of {self.rows:,} rows{each}"]
        parts += [f"{self.states[state]:,} {state}" for state in ("failed", "dropped") if self.states[state]]
        parts += [
            f"{count:,} {name}"
            for name, count in (("criteria merged", self.merged), ("drafts refused", self.refused))
            if count
        ]
        if self.first or self.last:
            parts.append(f"{self.first.total():,} findings in first drafts, {self.last.total():,} left")
        return "; ".join(parts)
