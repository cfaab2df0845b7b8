"""A judgement is the outcome of one criterion: a verdict that a threshold decided, or why there is none. Pure.

Guarantees: `met` and `p` are None unless the status is "ok". A verdict whose labels carry less than the floor of the
vocabulary's mass is an abstention, and a failure keeps its code as status; neither becomes a number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.errors import JudgementError

Source = Literal["judge", "cache", "rule"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's result on one criterion, before any request's threshold, so that a cache may keep it. A written verdict
    has an explanation. `disagreement` is that of two askings, of which this is the verdict."""

    p_met: float
    label_mass: float | None
    explanation: str | None = None
    disagreement: float | None = None


@dataclass(frozen=True, slots=True)
class BatchVerdict:
    """What one document says about several criteria, in their order: a verdict, or why there is none."""

    verdicts: tuple[Verdict | JudgementError, ...]

    def of(self, place: int) -> Verdict:
        """Raises JudgementError."""
        found = self.verdicts[place]
        if isinstance(found, JudgementError):
            raise found
        return found


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome of one criterion. `p` is P(met), calibrated where the judge has a calibration; `p_raw` is what the
    judge gave, which an abstention has, too. Of a graded criterion `level` is the place of the option that was taken,
    `p_levels` the probability of each (`p_levels_raw` as the judge gave it, where a calibration changed it), and
    `value` the expected value; `extracted` is what a rule decided about.
    `members` are what the judges of a composition said, by name, and `missing` are those without which it was made
    although they were to have a part in it."""

    status: str
    source: Source
    met: bool | None = None
    p: float | None = None
    p_raw: float | None = None
    label_mass: float | None = None
    explanation: str | None = None
    detail: str | None = None
    disagreement: float | None = None
    level: int | None = None
    p_levels: tuple[float, ...] | None = None
    p_levels_raw: tuple[float, ...] | None = None
    value: float | None = None
    extracted: str | None = None
    members: tuple[tuple[str, "Judgement"], ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status == "ok"


def abstains(label_mass: float | None, mass_floor: float) -> bool:
    """Returns whether the labels hold too little of the vocabulary's mass; without labels there is none to hold."""
    return label_mass is not None and (label_mass < mass_floor or label_mass <= 0.0)


def abstention(label_mass: float | None, mass_floor: float, source: Source, p_raw: float | None = None) -> Judgement:
    return Judgement(
        status="abstained",
        source=source,
        p_raw=p_raw,
        label_mass=label_mass,
        detail=f"label mass is below the floor of {mass_floor:g}: the judge tends to another answer than its labels",
    )


def decide(
    verdict: Verdict, *, threshold: float, mass_floor: float, source: Source, p: float | None = None
) -> Judgement:
    """Met where `p`, the verdict's own P(met) if it is None, is at or above `threshold`; an abstention where the labels
    hold less mass than `mass_floor`."""
    if abstains(verdict.label_mass, mass_floor):
        return abstention(verdict.label_mass, mass_floor, source, p_raw=verdict.p_met)
    p = verdict.p_met if p is None else p
    return Judgement(
        status="ok",
        source=source,
        met=p >= threshold,
        p=p,
        p_raw=verdict.p_met,
        label_mass=verdict.label_mass,
        explanation=verdict.explanation,
        disagreement=verdict.disagreement,
    )


def combine_votes(votes: Sequence[Judgement], *, threshold: float) -> Judgement:
    """Independent votes on one criterion as one judgement: P(met) is the mean of those that were given. Where the
    others could have turned the decision there is none, and the first one's reason is the status."""
    given = [vote for vote in votes if vote.ok]
    missing = [vote for vote in votes if not vote.ok]
    probabilities = [vote.p for vote in given if vote.p is not None]
    cast = math.fsum(probabilities)
    met = cast / len(votes) >= threshold
    if not given or met is not ((cast + len(missing)) / len(votes) >= threshold):
        return missing[0]
    p = cast / len(given)
    masses = [vote.label_mass for vote in given if vote.label_mass is not None]
    return Judgement(
        status="ok",
        source=votes[0].source,
        met=met,
        p=p,
        p_raw=p,
        label_mass=math.fsum(masses) / len(masses) if masses else None,
        explanation=next((vote.explanation for vote in given if vote.met is met), given[0].explanation),
    )


def failed(error: JudgementError, source: Source) -> Judgement:
    """A judgement without a verdict; the error's code is its status."""
    return Judgement(status=error.code, source=source, detail=str(error) or None)
