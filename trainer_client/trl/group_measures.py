"""Measures what the groups of a batch teach, for the metrics of a training.

Guarantees: the groups are whole, as they are of all processes. A measure that no group has is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer_client.watch import groups
from trainer_client.watch.observed import Floats, Table

_NEEDED = ("row", "answer", "reward")


def measures(columns: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """Means over the groups: without a spread of rewards, identical answers, pairs of which the longer one wins.
    `columns` are those of the completions table."""
    if any(name not in columns or not columns[name] for name in _NEEDED):
        return {}
    rows, answers, rewards = (list(columns[name]) for name in _NEEDED)
    table = _table(rows, answers, rewards, list(columns.get("member", ())))
    values = {
        "groups/no_spread": groups.without_spread(table),
        "groups/identical": groups.identical(table),
        "groups/longer_wins": groups.longer_wins(table),
    }
    return {name: float(np.nanmean(one)) for name, one in values.items() if np.isfinite(one).any()}


def _table(rows: list[Any], answers: list[str], rewards: list[float | None], members: list[Any]) -> Table:
    """Rollouts without verdicts. A row that a batch holds twice is two groups, told apart by their members."""
    names: dict[Any, int] = {}
    seen: dict[Any, int] = {}
    group = []
    for place, row in enumerate(rows):
        member = (row, members[place]) if place < len(members) else place
        seen[member] = seen.get(member, 0) + 1
        group.append(names.setdefault((row, seen[member]), len(names)))
    texts: dict[str, int] = {}
    nothing = np.empty(0, np.intp)
    reward: Floats = np.array([float("nan") if one is None else one for one in rewards], dtype=np.float64)
    return Table(
        step=np.zeros(len(rows), np.intp),
        group=np.array(group, dtype=np.intp),
        reward=reward,
        length=np.array([len(one) for one in answers], dtype=np.float64),
        answer=np.array([texts.setdefault(one, len(texts)) for one in answers], dtype=np.intp),
        rollout=nothing,
        criterion=nothing,
        met=np.empty(0),
        points=np.empty(0),
        share=np.empty(0),
        criteria=(),
    )
