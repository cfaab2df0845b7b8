"""GRPO groups of one request, by what can be learnt from them. Pure.

Always true: a group has two members or more; a criterion is only told of where every member has a verdict on it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from service.scoring.results import Scored

Spread = Literal["varied", "zero", "unjudged"]
CriterionSpread = Literal["all_met", "none_met", "mixed"]


def by_name(scored: Iterable[Scored]) -> dict[str, list[Scored]]:
    """Members of each group that was named, also where there is only one."""
    members: dict[str, list[Scored]] = {}
    for one in scored:
        if one.candidate.group is not None:
            members.setdefault(one.candidate.group, []).append(one)
    return members


def groups(scored: Iterable[Scored]) -> list[list[Scored]]:
    return [group for group in by_name(scored).values() if len(group) > 1]


def spread(group: Sequence[Scored]) -> Spread:
    """Whether the scores differ: without that a group teaches nothing. `unjudged`: fewer than two have one."""
    values = [one.score.value for one in group if one.score.value is not None]
    if len(values) < 2:
        return "unjudged"
    return "zero" if len(set(values)) == 1 else "varied"


def criteria_spreads(group: Sequence[Scored]) -> Iterator[CriterionSpread]:
    """One a criterion that all members share and that was judged for each."""
    first = group[0]
    if any(one.candidate.criteria != first.candidate.criteria for one in group):
        return
    for judged in zip(*(one.judgements for one in group), strict=True):
        met = [judgement.met for judgement in judged]
        if None not in met:
            yield "all_met" if all(met) else "mixed" if any(met) else "none_met"
