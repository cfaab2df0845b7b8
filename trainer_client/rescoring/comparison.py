"""Compares rollouts before and after a rescoring: scores, order and advantages within groups, verdicts by criterion.

Shares and means have intervals of 95 %, from draws of whole groups. The advantage of GRPO has the sign of a score less
the mean of its group, so that the sign says which responses are reinforced.

Guarantees: a rollout that lacks a score on one side is counted as such and is in no figure of both; so is a criterion
without a verdict. A group's mean is of the members that have a score on both sides.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import fsum
from typing import Any

import numpy as np

from trainer_client.agreement.bootstrap import Bounded, Figure, Statistic, figures, numbered
from trainer_client.agreement.statistics import Floats
from trainer_client.rescoring.change import Rescored
from trainer_client.rescoring.formula import met_at

SAME = 1e-9
"""Scores that differ by less are equal, and so is a score that is the mean of its group: a mean is a rounded sum."""
_LEAST = 10
"""Verdicts of a criterion or tag from which its share of flips has an interval."""
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Flips:
    """The verdicts of one criterion, or of all with one tag, that both sides have."""

    name: str
    kind: str
    n: int
    to_met: int
    to_unmet: int
    share: Figure

    @property
    def flips(self) -> int:
        return self.to_met + self.to_unmet


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed. `counts` are numbers of rollouts, groups and verdicts; `figures` have intervals; `flips` are of
    criteria and tags, those with the most first."""

    counts: Mapping[str, int]
    figures: Mapping[str, Figure]
    flips: Sequence[Flips]
    criteria_left_out: int = 0

    def as_json(self) -> dict[str, Any]:
        flips = [
            {
                "kind": one.kind,
                "name": one.name,
                "n": one.n,
                "to_met": one.to_met,
                "to_unmet": one.to_unmet,
                "share": one.share.as_json(),
            }
            for one in self.flips
        ]
        return {
            "counts": dict(self.counts),
            "figures": {name: figure.as_json() for name, figure in self.figures.items()},
            "flips": flips,
            "criteria_left_out": self.criteria_left_out,
        }


@dataclass(slots=True)
class _Sample:
    """Values of one kind of thing, each with its group."""

    groups: list[str] = field(default_factory=list)
    columns: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, group: str, **values: float) -> None:
        self.groups.append(group)
        for name, value in values.items():
            self.columns[name].append(value)

    def means(self) -> dict[str, Figure]:
        measured = {name: _mean(values) if name in NUMBERS else _share(values) for name, values in self.columns.items()}
        return figures(measured, numbered(self.groups))


def compare(rescored: Iterable[Rescored], *, before: float, after: float) -> Comparison:
    """`before` and `after` are the thresholds at which P(met) is met on each side."""
    counts: Counter[str] = Counter()
    by_group: dict[str, list[tuple[float, float]]] = defaultdict(list)
    verdicts: dict[tuple[str, str], list[tuple[str, bool, bool]]] = defaultdict(list)
    for one in rescored:
        _count(counts, one)
        if one.before.score is not None and one.after.score is not None:
            by_group[one.rollout.group].append((one.before.score, one.after.score))
        _collect(verdicts, counts, one, before, after)
    rollouts, pairs, groups = _Sample(), _Sample(), _Sample()
    for group, members in by_group.items():
        _add_group(group, members, rollouts, pairs, groups)
    counts["groups"] = len(by_group)
    flips, left_out = _flips(verdicts)
    return Comparison(counts, {**rollouts.means(), **pairs.means(), **groups.means()}, flips, left_out)


def _count(counts: Counter[str], one: Rescored) -> None:
    counts["rollouts"] += 1
    old, new = one.before.score, one.after.score
    counts["with_both_scores"] += old is not None and new is not None
    counts["score_lost"] += old is not None and new is None
    counts["score_gained"] += old is None and new is not None
    counts["without_any_score"] += old is None and new is None
    if one.logged is not None:
        counts["logged_scores"] += 1
        counts["logged_scores_reproduced"] += one.logged == old
    reward = one.rollout.reward
    counts["rewards_of_more_than_the_score"] += reward is not None and reward != one.logged


def _add_group(
    group: str, members: Sequence[tuple[float, float]], rollouts: _Sample, pairs: _Sample, groups: _Sample
) -> None:
    before, after = ([pair[side] for pair in members] for side in (0, 1))
    old, new = _signs(before), _signs(after)
    for n, (was, now) in enumerate(members):
        rollouts.add(
            group,
            score_before=was,
            score_after=now,
            change=now - was,
            absolute_change=abs(now - was),
            changed=float(abs(now - was) > SAME),
            **_advantage(old[n], new[n], len(members)),
        )
    for i, j in combinations(range(len(members)), 2):
        first, second = _sign(before[i] - before[j]), _sign(after[i] - after[j])
        pairs.add(
            group,
            order_turned=float(first * second < 0),
            order_lost=float(first != 0 and second == 0),
            order_gained=float(first == 0 and second != 0),
        )
    if len(members) > 1:
        groups.add(
            group,
            best_changed=float(_best(before) != _best(after)),
            zero_variance_before=float(not any(old)),
            zero_variance_after=float(not any(new)),
        )


def _advantage(old: int, new: int, members: int) -> dict[str, float]:
    """NaN where a group of one has no advantage."""
    if members < 2:
        return {"advantage_sign_changed": np.nan, "advantage_turned": np.nan}
    return {"advantage_sign_changed": float(old != new), "advantage_turned": float(old * new < 0)}


def _signs(scores: Sequence[float]) -> list[int]:
    mean = fsum(scores) / len(scores)
    return [_sign(score - mean) for score in scores]


def _sign(difference: float) -> int:
    return 0 if abs(difference) <= SAME else 1 if difference > 0 else -1


def _best(scores: Sequence[float]) -> set[int]:
    best = max(scores)
    return {place for place, score in enumerate(scores) if best - score <= SAME}


def _collect(
    verdicts: dict[tuple[str, str], list[tuple[str, bool, bool]]],
    counts: Counter[str],
    one: Rescored,
    before: float,
    after: float,
) -> None:
    """The verdicts on criteria that both rubrics have, by the question that is asked."""
    later = {of.question: (of, ruling) for of, ruling in zip(one.after.criteria, one.after.rulings, strict=True)}
    for criterion, ruling in zip(one.before.criteria, one.before.rulings, strict=True):
        if criterion.question not in later:
            counts["criteria_only_before"] += 1
            continue
        same, ruled = later.pop(criterion.question)
        old, new = met_at(before, criterion.counted, ruling), met_at(after, same.counted, ruled)
        counts["verdicts_lost"] += old is not None and new is None
        counts["verdicts_gained"] += old is None and new is not None
        if old is None or new is None:
            continue
        counts["verdicts"] += 1
        counts["verdicts_flipped"] += old != new
        told = one.rollout.group, old, new
        verdicts["criterion", criterion.text].append(told)
        for name, value in criterion.counted.tags.items():
            verdicts["tag", f"{name}:{value}"].append(told)
    counts["criteria_only_after"] += len(later)


def _flips(verdicts: Mapping[tuple[str, str], Sequence[tuple[str, bool, bool]]]) -> tuple[list[Flips], int]:
    """The criteria and tags with the most flips, and how many more there are."""
    found = []
    for (kind, name), told in verdicts.items():
        to_met = sum(new and not old for _, old, new in told)
        to_unmet = sum(old and not new for _, old, new in told)
        found.append((kind, name, told, to_met, to_unmet))
    found.sort(key=lambda one: (one[0] != "tag", -(one[3] + one[4]), one[1]))
    criteria = [one for one in found if one[0] == "criterion"]
    shown = [one for one in found if one[0] == "tag"][:_SHOWN] + criteria[:_SHOWN]
    return [
        Flips(name, kind, len(told), to_met, to_unmet, _flipped(told)) for kind, name, told, to_met, to_unmet in shown
    ], len(criteria) - len(criteria[:_SHOWN])


def _flipped(told: Sequence[tuple[str, bool, bool]]) -> Figure:
    flipped = [float(old != new) for _, old, new in told]
    if len(told) < _LEAST:
        return Figure(fsum(flipped) / len(flipped), None, None, len(told), "few")
    return figures({"share": _share(flipped)}, numbered([group for group, _, _ in told]))["share"]


def _share(values: Sequence[float]) -> Statistic:
    """The mean of those of the values, in 0..1, that there are."""
    return Bounded(_mean(values), np.isfinite(np.asarray(values, dtype=np.float64)))


def _mean(values: Sequence[float]) -> Statistic:
    """The mean of the values that there are."""
    column = np.asarray(values, dtype=np.float64)
    known = np.isfinite(column)
    filled = np.where(known, column, 0.0)

    def of(weights: Floats) -> Floats:
        count = weights @ known.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ filled) / count)

    return of


NUMBERS = frozenset({"score_before", "score_after", "change", "absolute_change"})
"""The figures that are no shares."""
ABOUT: Mapping[str, str] = {
    "score_before": "mean score, before",
    "score_after": "mean score, after",
    "change": "mean change of the score",
    "absolute_change": "mean size of the change",
    "changed": "rollouts whose score changes",
    "advantage_sign_changed": "rollouts whose advantage has another sign (+, 0, \N{MINUS SIGN})",
    "advantage_turned": "rollouts whose advantage turns from + to \N{MINUS SIGN} or back",
    "order_turned": "pairs of a group whose order turns round",
    "order_lost": "pairs of a group that become equal",
    "order_gained": "pairs of a group that were equal and are no longer",
    "best_changed": "groups with another best response",
    "zero_variance_before": "groups without spread, before",
    "zero_variance_after": "groups without spread, after",
}
