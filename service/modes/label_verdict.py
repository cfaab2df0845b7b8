"""Reading a judge strictly. Pure.

Always true: a verdict comes from label probabilities that are finite and carry at least the floor of the whole
vocabulary's mass; everything else is an abstention or an error with a reason, never a default.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.engine.base import LabelLogprobs
from service.errors import JudgementError, Unparseable

Source = Literal["judge", "cache", "rule"]

_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of one criterion, before any request's threshold: this is what a cache may keep. A written
    verdict has an explanation and no label mass."""

    p_met: float
    label_mass: float | None
    explanation: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One criterion's outcome. `met` and `p` are None unless `status` is "ok"."""

    status: str
    source: Source
    met: bool | None = None
    p: float | None = None
    p_raw: float | None = None
    label_mass: float | None = None
    explanation: str | None = None
    detail: str | None = None

    @property
    def ok(self) -> bool:
        return self.status == "ok"


def read(outcome: LabelLogprobs) -> Verdict:
    """P(met) = the first label's share of both labels' probability. Raises Unparseable on anything but two
    log-probabilities that are numbers at or below zero (up to rounding)."""
    met, unmet = label_logprobs(outcome, 2)
    mass = label_mass(outcome.logprobs)
    return Verdict(p_met=1.0 / (1.0 + math.exp(min(unmet - met, 700.0))), label_mass=mass)


def label_logprobs(outcome: LabelLogprobs, labels: int) -> tuple[float, ...]:
    """The labels' log-probabilities. Raises Unparseable unless there are so many finite ones, at most zero."""
    logprobs = outcome.logprobs
    if len(logprobs) != labels or not all(math.isfinite(lp) and lp <= _ROUNDING for lp in logprobs):
        raise Unparseable(f"the engine's label probabilities are not {labels} finite log-probabilities")
    return logprobs


def label_mass(logprobs: Sequence[float]) -> float:
    """The labels' share of the whole vocabulary's probability. Raises Unparseable where it is more than one."""
    mass = sum(map(math.exp, logprobs))
    if mass > 1 + _ROUNDING:
        raise Unparseable("the engine's label probabilities sum to more than one")
    return min(mass, 1.0)


def abstains(label_mass: float | None, mass_floor: float) -> bool:
    return label_mass is not None and (label_mass < mass_floor or label_mass <= 0.0)


def abstention(label_mass: float | None, mass_floor: float, source: Source, p_raw: float | None = None) -> Judgement:
    return Judgement(
        status="abstained",
        source=source,
        p_raw=p_raw,
        label_mass=label_mass,
        detail=f"label mass is below the floor of {mass_floor:g}: the judge wanted to say something else",
    )


def decide(verdict: Verdict, *, threshold: float, mass_floor: float, source: Source) -> Judgement:
    """Met at or above `threshold`; an abstention where the labels' mass is below `mass_floor`."""
    if abstains(verdict.label_mass, mass_floor):
        return abstention(verdict.label_mass, mass_floor, source, p_raw=verdict.p_met)
    return Judgement(
        status="ok",
        source=source,
        met=verdict.p_met >= threshold,
        p=verdict.p_met,
        p_raw=verdict.p_met,
        label_mass=verdict.label_mass,
        explanation=verdict.explanation,
    )


def poll(votes: Sequence[Verdict], missing: Sequence[JudgementError], *, threshold: float, source: Source) -> Judgement:
    """Independent written verdicts as one: P(met) is the share of those that were given. Where the missing ones could
    have turned the decision there is none, and the first one's reason is its status."""
    cast = sum(vote.p_met for vote in votes)
    total = len(votes) + len(missing)
    met = cast / total >= threshold
    if not votes or met is not ((cast + len(missing)) / total >= threshold):
        return failed(missing[0], source)
    p = cast / len(votes)
    explanation = next((vote.explanation for vote in votes if (vote.p_met >= 0.5) is met), votes[0].explanation)
    return Judgement(status="ok", source=source, met=met, p=p, p_raw=p, explanation=explanation)


def failed(error: JudgementError, source: Source) -> Judgement:
    """A judgement that did not come about; the error's code is its status."""
    return Judgement(status=error.code, source=source, detail=str(error) or None)
