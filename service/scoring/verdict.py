"""Reading a judge strictly. Pure.

Always true: a verdict comes from label probabilities that are finite and carry at least the floor of the whole
vocabulary's mass; everything else is an abstention or an error with a reason, never a default.
"""

import math
from dataclasses import dataclass
from typing import Literal

from service.engine.base import LabelRead
from service.errors import JudgementError, Unparseable

Source = Literal["judge", "cache", "rule"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of one criterion, before any request's threshold: this is what a cache may keep."""

    p_met: float
    label_mass: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """One criterion's outcome. `met` and `p` are None unless `status` is "ok"."""

    status: str
    source: Source
    met: bool | None = None
    p: float | None = None
    p_raw: float | None = None
    label_mass: float | None = None
    detail: str | None = None

    @property
    def ok(self) -> bool:
        return self.status == "ok"


def read(outcome: LabelRead) -> Verdict:
    """P(met) = the first label's share of both labels' probability. Raises Unparseable on anything but two
    log-probabilities that are numbers at or below zero (up to rounding)."""
    if len(outcome.logprobs) != 2 or not all(math.isfinite(lp) and lp <= 1e-3 for lp in outcome.logprobs):
        raise Unparseable("the engine's label probabilities are not two finite log-probabilities")
    met, unmet = outcome.logprobs
    mass = math.exp(met) + math.exp(unmet)
    if mass > 1.001:
        raise Unparseable("the engine's label probabilities sum to more than one")
    return Verdict(p_met=1.0 / (1.0 + math.exp(min(unmet - met, 700.0))), label_mass=min(mass, 1.0))


def decide(verdict: Verdict, *, threshold: float, mass_floor: float, source: Source) -> Judgement:
    """Met at or above `threshold`; an abstention where the labels' mass is below `mass_floor`."""
    if verdict.label_mass < mass_floor:
        return Judgement(
            status="abstained",
            source=source,
            p_raw=verdict.p_met,
            label_mass=verdict.label_mass,
            detail=f"label mass is below the floor of {mass_floor:g}: the judge wanted to say something else",
        )
    return Judgement(
        status="ok",
        source=source,
        met=verdict.p_met >= threshold,
        p=verdict.p_met,
        p_raw=verdict.p_met,
        label_mass=verdict.label_mass,
    )


def failed(error: JudgementError, source: Source) -> Judgement:
    """A judgement that did not come about; the error's code is its status."""
    return Judgement(status=error.code, source=source, detail=str(error) or None)
