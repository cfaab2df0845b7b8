"""Says how far a judge agrees with labels on rewards, which is what a training sees: order, correlation, advantages.

The reward of a response is the service's aggregation `healthbench`, computed here from labels and from verdicts alike:
points of what is met, divided by the sum of the positive points.

Guarantees: a response of which a counted criterion lacks a label or a verdict has no reward and is in no figure.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import RESAMPLES, Figure, Statistic, figures, numbered, share
from trainer_client.agreement.statistics import Floats
from trainer_client.labels import Judged, JudgedCriterion, Labels
from trainer_client.labels.labelled import digest

_SAME = 1e-9
"""Rewards that differ by less are equal: they are sums of floats in another order."""


@dataclass(frozen=True, slots=True)
class Rewards:
    """Responses with both rewards, as arrays (M,). Responses of one `rubric` answer one prompt and are judged by one
    rubric, as in a GRPO group. `soft` is the judge's reward with P(met) in place of met, NaN where a P is missing."""

    label: Floats
    judge: Floats
    soft: Floats
    groups: NDArray[np.intp]
    rubrics: NDArray[np.intp]
    responses: int


def reward(points: Sequence[float], met: Sequence[float]) -> float:
    """The aggregation `healthbench` of counted criteria: without positive points it is over the sum of |points|."""
    best = sum(one for one in points if one > 0) or sum(-one for one in points)
    return sum(one * share for one, share in zip(points, met, strict=True)) / best


def rewards_of(labels: Labels, judged: Judged) -> Rewards:
    by_item: dict[int, list[JudgedCriterion]] = defaultdict(list)
    for one in judged.criteria:
        if one.points != 0:
            by_item[one.item].append(one)
    rows = []
    for item, criteria in by_item.items():
        both = _both(criteria)
        if both is not None:
            group = labels.items[item].group
            rubric = digest([[one.criterion, one.text, one.points] for one in criteria])
            rows.append((*both, group, f"{group} {rubric}"))
    return Rewards(
        label=np.array([row[0] for row in rows], dtype=np.float64),
        judge=np.array([row[1] for row in rows], dtype=np.float64),
        soft=np.array([row[2] for row in rows], dtype=np.float64),
        groups=numbered([row[3] for row in rows]),
        rubrics=numbered([row[4] for row in rows]),
        responses=len(by_item),
    )


def _both(criteria: Sequence[JudgedCriterion]) -> tuple[float, float, float] | None:
    """The reward by labels, by verdicts and by probabilities."""
    points = [one.points for one in criteria]
    labelled, judged = [_labelled(one) for one in criteria], [_judged(one) for one in criteria]
    if None in labelled or None in judged:
        return None
    label = reward(points, [share for share in labelled if share is not None])
    judge = reward(points, [share for share in judged if share is not None])
    shares = [_expected(one) for one in criteria]
    known = [share for share in shares if share is not None]
    soft = reward(points, known) if len(known) == len(shares) else float("nan")
    return label, judge, soft


def _labelled(one: JudgedCriterion) -> float | None:
    """The share of the points by the label."""
    if one.values:
        return None if one.level_label is None else one.values[one.level_label]
    return None if one.met_label is None else float(one.met_label)


def _judged(one: JudgedCriterion) -> float | None:
    if one.values:
        return None if one.level is None else one.values[one.level]
    return None if one.met is None else float(one.met)


def _expected(one: JudgedCriterion) -> float | None:
    """With the judge's probabilities. A rule's result has none and needs none."""
    if one.values:
        return None if one.p_levels is None else sum(p * v for p, v in zip(one.p_levels, one.values, strict=True))
    return float(bool(one.met)) if one.source == "rule" else one.p


def reward_figures(rewards: Rewards, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Figure]:
    """Within each prompt and rubric: the order of pairs, the signs of GRPO's advantages (reward less the mean of the
    group) and the correlation of advantages. Over all responses: the correlation of rewards, which is high already
    where the rubrics differ much from each other. A name that ends in `_soft` is of rewards with P(met)."""
    draw = partial(figures, resamples=resamples, seed=seed)
    found: dict[str, Figure] = {}
    for ending, judge in (("", rewards.judge), ("_soft", rewards.soft)):
        pairs, pair_groups = _pairs(rewards, judge)
        found |= draw({f"pairwise{ending}": share(pairs)}, pair_groups)
        wanted, given, groups = _advantages(rewards, judge)
        signs, pushed = (_sign(wanted) * _sign(given) + 1) / 2, _sign(wanted) != 0
        found |= draw({f"advantage_sign{ending}": share(signs[pushed])}, groups[pushed])
        found |= draw(_correlations(wanted, given, f"_within{ending}"), groups)
        kept = np.isfinite(judge)
        found |= draw(_correlations(rewards.label[kept], judge[kept], ending), rewards.groups[kept])
    return found


def _correlations(label: Floats, judge: Floats, ending: str) -> Mapping[str, Statistic]:
    return {
        f"pearson{ending}": partial(statistics.pearson, label, judge),
        f"spearman{ending}": partial(statistics.spearman, label, judge),
    }


def _pairs(rewards: Rewards, judge: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """For each pair of responses that the labels put in order: 1 where the judge agrees, 0.5 where it ties, else 0."""
    found: list[Floats] = [np.zeros(0)]
    groups: list[NDArray[np.intp]] = [np.zeros(0, dtype=np.intp)]
    for members in _members(rewards, judge):
        one, other = (members[places] for places in np.triu_indices(len(members), 1))
        wanted = _sign(rewards.label[one] - rewards.label[other])
        given = _sign(judge[one] - judge[other])
        ordered = wanted != 0
        found.append((wanted * given)[ordered] / 2 + 0.5)
        groups.append(rewards.groups[one][ordered])
    return np.concatenate(found), np.concatenate(groups)


def _advantages(rewards: Rewards, judge: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """The advantages by label and by the judge of all responses that are in a group, and their groups."""
    wanted: list[Floats] = [np.zeros(0)]
    given: list[Floats] = [np.zeros(0)]
    groups: list[NDArray[np.intp]] = [np.zeros(0, dtype=np.intp)]
    for members in _members(rewards, judge):
        wanted.append(rewards.label[members] - rewards.label[members].mean())
        given.append(judge[members] - judge[members].mean())
        groups.append(rewards.groups[members])
    return np.concatenate(wanted), np.concatenate(given), np.concatenate(groups)


def _members(rewards: Rewards, judge: Floats) -> Iterable[NDArray[np.intp]]:
    """The places of the responses of each rubric that has several."""
    order = np.argsort(rewards.rubrics, kind="stable")
    order = order[np.isfinite(judge[order])]
    cuts = np.flatnonzero(np.diff(rewards.rubrics[order])) + 1
    return (members for members in np.split(order, cuts) if len(members) > 1)


def _sign(difference: Floats) -> Floats:
    return np.where(np.abs(difference) < _SAME, 0.0, np.sign(difference))
