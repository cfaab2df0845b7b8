"""Makes one judgement of what the members of a panel said about a criterion. Pure.

Guarantees: P(met) of a panel is at or above the threshold exactly where it is met, under every rule; below the quorum
there is no verdict, and the first missing member's status says why; what each member said stays with the judgement.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from service.rubrics.judgement import Judgement, Source
from service.rubrics.levels import judged_level, mean_levels
from service.rubrics.rubric import Criterion

PanelRule = Literal["mean", "majority", "unanimous"]
Said = tuple[str, Judgement]
"""A member's name and its judgement."""


def combined(said: Sequence[Said], rule: PanelRule, quorum: int, criterion: Criterion, threshold: float) -> Judgement:
    """The rule is for criteria that are met or not: levels and choices have the mean of their probabilities, whatever
    the rule is, and of extracted values rules have decided. The sign of the points decides what `unanimous` means."""
    given = [(name, one) for name, one in said if one.ok]
    if len(given) < quorum:
        return _missing(said, len(given), quorum)
    if criterion.graded:
        return _graded(said, given, criterion, threshold)
    if criterion.extraction is not None:
        return _extracted(said, given, rule, criterion)
    probabilities = [one.p for _, one in given if one.p is not None]
    if len(probabilities) < len(given):
        why = "a member said no P(met), so that there is nothing to combine"
        return Judgement(status="unparseable", source="judge", detail=why, members=tuple(said))
    p = joint(probabilities, rule, wanted=criterion.points >= 0)
    met = p >= threshold
    return Judgement(
        status="ok",
        source=_source(given),
        met=met,
        p=p,
        p_raw=_raw(given, rule, criterion),
        label_mass=_label_mass(given),
        explanation=_explanation(given, met),
        disagreement=_apart(given),
        members=tuple(said),
        missing=_without(said),
    )


def _graded(said: Sequence[Said], given: Sequence[Said], criterion: Criterion, threshold: float) -> Judgement:
    """What the mean of the members' probabilities says, as of one judge."""
    by_member = [one.p_levels for _, one in given if one.p_levels is not None]
    raw = [one.p_levels_raw or one.p_levels or () for _, one in given]
    if len(by_member) < len(given) or any(len(one) != len(criterion.options) for one in by_member):
        why = "a member said no probabilities of the levels, so that there is nothing to take the mean of"
        return Judgement(status="unparseable", source="judge", detail=why, members=tuple(said))
    judged = judged_level(
        mean_levels(by_member),
        criterion.options,
        threshold=threshold,
        source=_source(given),
        label_mass=_label_mass(given),
        raw=mean_levels(raw) if any(one.p_levels_raw for _, one in given) else None,
    )
    return replace(judged, disagreement=_apart(given), members=tuple(said), missing=_without(said))


def _raw(given: Sequence[Said], rule: PanelRule, criterion: Criterion) -> float | None:
    """The rule over what the members gave before their calibrations; None where one does not say that."""
    raw = [one.p_raw for _, one in given if one.p_raw is not None]
    return joint(raw, rule, wanted=criterion.points >= 0) if len(raw) == len(given) else None


def _apart(given: Sequence[Said]) -> float | None:
    """How far apart P(met) is, also of levels; None of one member alone, or where one has none."""
    p = [one.p for _, one in given if one.p is not None]
    return max(p) - min(p) if len(p) == len(given) > 1 else None


def _without(said: Sequence[Said]) -> tuple[str, ...]:
    """The members that said nothing, and those that their verdicts lack in turn."""
    return tuple(missing for name, one in said for missing in ((name,) if not one.ok else one.missing))


def _extracted(said: Sequence[Said], given: Sequence[Said], rule: PanelRule, criterion: Criterion) -> Judgement:
    """A rule has decided about the value of each member, so there are votes and no P(met). Half of them is no majority:
    then there is no verdict. The value is that of the first member that is of the panel's mind."""
    votes = [one for _, one in given if one.met]
    met = len(votes) == len(given) or (2 * len(votes) > len(given) and rule != "unanimous")
    if rule == "unanimous" and criterion.points < 0:
        met = bool(votes)
    elif rule != "unanimous" and 2 * len(votes) == len(given):
        why = f"the rule holds for the values of {len(votes)} of {len(given)} members: half of them is no majority"
        return Judgement(status="abstained", source="judge", detail=why, members=tuple(said))
    of_one_mind = [one for _, one in given if one.met is met]
    return Judgement(
        status="ok",
        source=_source(given),
        met=met,
        extracted=next((one.extracted for one in of_one_mind if one.extracted is not None), None),
        detail=f"the rule holds for the values of {len(votes)} of {len(given)} members",
        members=tuple(said),
        missing=_without(said),
    )


def joint(probabilities: Sequence[float], rule: PanelRule, *, wanted: bool) -> float:
    """P(met) of the panel, of one or more. The median is at or above a threshold where more than half of the members
    are, and not where fewer are; of a tie the mean of the two in the middle decides."""
    if rule == "mean":
        return math.fsum(probabilities) / len(probabilities)
    if rule == "majority":
        return statistics.median(probabilities)
    return min(probabilities) if wanted else max(probabilities)


def _label_mass(given: Sequence[Said]) -> float | None:
    return min((one.label_mass for _, one in given if one.label_mass is not None), default=None)


def _source(given: Sequence[Said]) -> Source:
    return "cache" if all(one.source == "cache" for _, one in given) else "judge"


def _explanation(given: Sequence[Said], met: bool) -> str | None:
    """That of the first member that says what the panel says."""
    return next((one.explanation for _, one in given if one.met is met and one.explanation is not None), None)


def _missing(said: Sequence[Said], given: int, quorum: int) -> Judgement:
    name, first = next((name, one) for name, one in said if not one.ok)
    why = f": {first.detail}" if first.detail else ""
    return Judgement(
        status=first.status,
        source="judge",
        detail=f"{given} of {len(said)} members judged, and the quorum is {quorum}; `{name}` {first.status}{why}",
        members=tuple(said),
    )
