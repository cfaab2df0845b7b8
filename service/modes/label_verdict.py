"""Reads a verdict from the probabilities of a judge's labels, strictly. Pure.

Guarantees: a verdict comes from label probabilities that are finite and sum to at most one; anything else is
Unparseable, with a reason.
"""

import math
from collections.abc import Sequence

from service.engine.base import LabelLogprobs
from service.errors import Unparseable
from service.modes.calibration import log_odds
from service.rubrics.judgement import Verdict

_ROUNDING = 1e-3


def read_verdict(outcome: LabelLogprobs) -> Verdict:
    """P(met) = the first label's share of both labels' probability. Raises Unparseable on anything but two
    log-probabilities that are numbers at or below zero (up to rounding)."""
    met, unmet = label_logprobs(outcome, 2)
    mass = label_mass(outcome.logprobs)
    return Verdict(p_met=1.0 / (1.0 + math.exp(min(unmet - met, 700.0))), label_mass=mass)


def read_both(plain: Verdict, opposite: Verdict) -> Verdict:
    """One verdict of two askings: whether the criterion is true, and whether it is false.

    Log-odds are averaged, so that what a judge adds to the log-odds of its first label, whatever it is asked, is gone.
    The disagreement is how far the two P(met) are apart, from 0 to 1. The labels' mass is the smaller one."""
    at = (log_odds(plain.p_met) - log_odds(opposite.p_met)) / 2
    masses = [mass for mass in (plain.label_mass, opposite.label_mass) if mass is not None]
    return Verdict(
        p_met=1.0 / (1.0 + math.exp(-at)),
        label_mass=min(masses, default=None),
        disagreement=abs(plain.p_met - (1.0 - opposite.p_met)),
    )


def label_logprobs(outcome: LabelLogprobs, labels: int) -> tuple[float, ...]:
    """The labels' log-probabilities. Raises Unparseable unless there are `labels` finite ones, each at most zero."""
    logprobs = outcome.logprobs
    if len(logprobs) == labels:
        for logprob in logprobs:
            if not (math.isfinite(logprob) and logprob <= _ROUNDING):
                break
        else:
            return logprobs
    raise Unparseable(f"the engine's label probabilities are not {labels} finite log-probabilities")


def label_mass(logprobs: Sequence[float]) -> float:
    """The labels' share of the whole vocabulary's probability. Raises Unparseable where it is more than one."""
    mass = sum(map(math.exp, logprobs))
    if mass > 1 + _ROUNDING:
        raise Unparseable("the engine's label probabilities sum to more than one")
    return min(mass, 1.0)
