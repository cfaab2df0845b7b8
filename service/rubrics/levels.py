"""Decides graded criteria: a judge's probabilities of the levels become a judgement, of one judge or of several. Pure.

`trainer_client/level_choice.py` says which level they give.

Guarantees: with the values 0 and 1 and the same probability, a criterion of two levels has the verdict, the P(met) and
the value of a plain one, bit by bit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.rubrics.judgement import Judgement, Source, abstains, abstention
from service.rubrics.rubric import Option
from trainer_client.level_choice import chosen_level, expected_value, is_met, p_met

_PEAK = 0.25
_VALLEY = 0.5
"""Two levels with a peak's probability each, and one between them with less than half of the smaller peak."""


@dataclass(frozen=True, slots=True)
class LevelVerdict:
    """A judge's result on a graded criterion, before any request's threshold, so that a cache may keep it.
    `p_levels` are the options' probabilities, in order, which sum to one."""

    p_levels: tuple[float, ...]
    label_mass: float | None
    explanation: str | None = None


def decide_level(
    verdict: LevelVerdict,
    options: Sequence[Option],
    *,
    threshold: float,
    mass_floor: float,
    source: Source,
    calibrated: Sequence[float] | None = None,
) -> Judgement:
    """The judgement of a graded criterion, by the `calibrated` probabilities where there are some; an abstention where
    the labels hold less mass than `mass_floor`."""
    if abstains(verdict.label_mass, mass_floor):
        return abstention(verdict.label_mass, mass_floor, source)
    return judged_level(
        verdict.p_levels if calibrated is None else calibrated,
        options,
        threshold=threshold,
        source=source,
        label_mass=verdict.label_mass,
        explanation=verdict.explanation,
        raw=None if calibrated is None else verdict.p_levels,
    )


def judged_level(
    p_levels: Sequence[float],
    options: Sequence[Option],
    *,
    threshold: float,
    source: Source,
    label_mass: float | None = None,
    explanation: str | None = None,
    raw: Sequence[float] | None = None,
) -> Judgement:
    """The judgement that these probabilities make, of one judge or of several. `raw` are those before a
    calibration."""
    values = [option.value for option in options]
    level = chosen_level(p_levels, values, threshold)
    p = p_met(p_levels, values, threshold)
    return Judgement(
        status="ok",
        source=source,
        met=is_met(values[level], threshold),
        p=p,
        p_raw=p if raw is None else p_met(raw, values, threshold),
        label_mass=label_mass,
        explanation=explanation,
        level=level,
        p_levels=tuple(p_levels),
        p_levels_raw=None if raw is None else tuple(raw),
        value=expected_value(p_levels, values),
    )


def combine_level_votes(votes: Sequence[Judgement], options: Sequence[Option], *, threshold: float) -> Judgement:
    """Independent votes on one graded criterion as one judgement: the mean of the probabilities of those that were
    given. Where the others could have changed the level there is none, and the first one's reason is the status."""
    given = [vote for vote in votes if vote.p_levels is not None]
    missing = [vote for vote in votes if vote.p_levels is None]
    if not given:
        return missing[0]
    several = [vote.p_levels for vote in given if vote.p_levels is not None]
    mean = mean_levels(several)
    values = [option.value for option in options]
    level = chosen_level(mean, values, threshold)
    cast = [math.fsum(of_one) for of_one in zip(*several, strict=True)]
    for place in range(len(options)) if missing else ():
        # The others may all have given the whole probability to one option.
        moved = [(p + (len(missing) if one == place else 0)) / len(votes) for one, p in enumerate(cast)]
        if chosen_level(moved, values, threshold) != level:
            return missing[0]
    raw = [vote.p_levels_raw or vote.p_levels or () for vote in given]
    masses = [vote.label_mass for vote in given if vote.label_mass is not None]
    return judged_level(
        mean,
        options,
        threshold=threshold,
        source=votes[0].source,
        label_mass=math.fsum(masses) / len(masses) if masses else None,
        explanation=next((vote.explanation for vote in given if vote.level == level), given[0].explanation),
        raw=mean_levels(raw) if any(vote.p_levels_raw for vote in given) else None,
    )


def mean_levels(several: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The mean probability of each option, as votes and panels combine levels."""
    return tuple(math.fsum(of_one) / len(several) for of_one in zip(*several, strict=True))


def bimodal(p_levels: Sequence[float]) -> tuple[int, int] | None:
    """Two levels that are both likely while one between them is not, so that the expected value lies where the judge
    sees nothing; None where there are none."""
    peaks = [place for place, p in enumerate(p_levels) if p >= _PEAK]
    for low in peaks:
        for high in peaks:
            between = p_levels[low + 1 : high]
            if between and min(between) < _VALLEY * min(p_levels[low], p_levels[high]):
                return low, high
    return None
