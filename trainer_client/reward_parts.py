"""Splits a judge's score into rewards of its own for each tag or criterion, as GDPO normalises them.

Guarantees: a part is made from its own criteria's verdicts, and is left out where one of them is missing.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from trainer_client import wire

By = Literal["total", "tag", "criterion"]
UNTAGGED = "untagged"
_MOST = 64


class Row(Protocol):
    """The fields that a row must have."""

    @property
    def id(self) -> str: ...
    @property
    def rubric(self) -> wire.Rubric | None: ...


def names(rows: Sequence[Row], by: By) -> list[str]:
    """The parts of these rows, sorted; none for `total`. Raises ValueError where a criterion has no name, and for more
    than 64 parts."""
    if by == "total":
        return []
    found: set[str] = set()
    for row in rows:
        for criterion in (one for one in row.rubric.criteria if one.worth != 0) if row.rubric else ():
            if by == "criterion" and criterion.id is None:
                raise ValueError(f"row {row.id}: a criterion has no `id` to name its reward by; set rewards.by to tag")
            found.update(names_of(criterion, by))
    if len(found) > _MOST:
        other = "tag" if by == "criterion" else "total"
        raise ValueError(
            f"these rows have {len(found)} parts by {by}, and at most {_MOST} can be rewards; take {other}"
        )
    return sorted(found)


def split(result: wire.Result, rubric: Sequence[wire.Criterion], by: By, *, soft: bool = False) -> dict[str, float]:
    """The reward of each part that has all of its verdicts: the points of the criteria that are met, over the part's
    positive points, or over all where it has none. With `soft` P(met) counts instead of 0 and 1. One with levels
    earns the value of its level, or with `soft` the expected one."""
    verdicts = {one.id: one for one in result.criteria}
    parts: dict[str, list[tuple[float, float]]] = {}
    without: set[str] = set()
    for place, criterion in enumerate(rubric):
        if criterion.worth == 0:
            continue
        verdict = verdicts.get(criterion.id or str(place))
        share = None if verdict is None else _share(criterion, verdict, soft)
        for name in names_of(criterion, by):
            if share is None:
                without.add(name)
            else:
                parts.setdefault(name, []).append((criterion.worth, share))
    return {name: _reward(some) for name, some in parts.items() if name not in without}


def _share(criterion: wire.Criterion, verdict: wire.CriterionResult, soft: bool) -> float | None:
    """The share of its points that a criterion earns; None without a verdict."""
    if criterion.options:
        if verdict.level is None or verdict.level >= len(criterion.options):
            return None
        return verdict.value if soft else criterion.options[verdict.level].value
    if verdict.met is None:
        return None
    return verdict.p if soft and verdict.p is not None else float(verdict.met)


def names_of(criterion: wire.Criterion, by: By) -> list[str]:
    """The parts that a criterion counts for."""
    if by == "criterion":
        return [criterion.id or ""]
    return [f"{key}:{value}" for key, value in criterion.tags.items()] or [UNTAGGED]


def _reward(part: Sequence[tuple[float, float]]) -> float:
    most = sum(worth for worth, _ in part if worth > 0) or sum(abs(worth) for worth, _ in part)
    return sum(worth * met for worth, met in part) / most
