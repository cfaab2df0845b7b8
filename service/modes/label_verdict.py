"""Reads a verdict from the probabilities of a judge's labels, strictly. Pure.

Guarantees: a verdict comes from label probabilities that are finite and sum to at most one; anything else is
Unparseable, with a reason.
"""

import math
from collections.abc import Sequence

from service.engine.base import LabelLogprobs
from service.errors import Unparseable
from service.rubrics.judgement import Verdict

_ROUNDING = 1e-3


def read_verdict(outcome: LabelLogprobs) -> Verdict:
    """P(met) = the first label's share of both labels' probability. Raises Unparseable on anything but two
    log-probabilities that are numbers at or below zero (up to rounding)."""
    met, unmet = label_logprobs(outcome, 2)
    mass = label_mass(outcome.logprobs)
    return Verdict(p_met=1.0 / (1.0 + math.exp(min(unmet - met, 700.0))), label_mass=mass)


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
