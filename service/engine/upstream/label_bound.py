"""Reads labels' log-probabilities from the most likely tokens that a server reports; it bounds what is missing. Pure.

Guarantees: a label that the server did not report gets no guessed probability: it is bounded, and where the bound
leaves P(met) open there is no verdict.

The bound. A server reports some tokens with probabilities that sum to S. Any other token has at most `1 - S`, give or
take rounding; and where at least `top_k` tokens are reported, at most the probability of the `top_k`-th of them (the
most likely ones are among them; the sampled token may be there besides). With u the smaller of the two, and p the
probability of the one label that is reported, P(met) lies within u / (p + u) of 1 (or of 0, where the other label is
the one that is reported). Narrower than `MAX_WIDTH`, the missing label is read as having no probability: P(met) is then
off by less than `MAX_WIDTH`, in the direction away from one half, and the label mass is too small by less than that
share. Otherwise, or with neither label reported, the prompt has no verdict.
"""

import math
from collections.abc import Mapping

from service.errors import EngineFailed, Unparseable

MAX_WIDTH = 0.02
# Natural-log probability of "none": finite, because log-probabilities must be, and exp() of it is exactly zero. vLLM
# prints the same number for a token that cannot be sampled.
NO_MASS = -9999.0
_ROUNDING = 1e-3
# What may be left although the reported probabilities sum to one: servers compute them in float32.
_UNSEEN = 1e-6


def read_logprobs(reported: Mapping[str, object], labels: tuple[str, ...], top_k: int) -> tuple[float, ...]:
    """The labels' log-probabilities. Raises EngineFailed where `reported` is no distribution, Unparseable where a
    missing label leaves P(met) open."""
    logprobs = _checked_logprobs(reported)
    missing = sum(label not in logprobs for label in labels)
    known = sum(math.exp(logprobs[label]) for label in labels if label in logprobs)
    room = missing * _most_probable_unreported(logprobs, top_k)
    if missing and (known <= 0.0 or room / (known + room) >= MAX_WIDTH):
        raise Unparseable(f"label not among the top {top_k} that the server reported")
    return tuple(logprobs.get(label, NO_MASS) for label in labels)


def _checked_logprobs(reported: Mapping[str, object]) -> dict[str, float]:
    logprobs = {}
    for key, value in reported.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise EngineFailed("the server reported a log-probability that is not a finite number")
        if value > _ROUNDING:
            raise EngineFailed("the server reported a log-probability above zero")
        logprobs[key] = float(value)
    if sum(map(math.exp, logprobs.values())) > 1 + _ROUNDING:
        raise EngineFailed("the server reported probabilities that sum to more than one")
    return logprobs


def _most_probable_unreported(logprobs: Mapping[str, float], top_k: int) -> float:
    """The highest probability that one unreported token can have."""
    probabilities = sorted(map(math.exp, logprobs.values()), reverse=True)
    rest = max(0.0, 1.0 - sum(probabilities)) + _UNSEEN
    return min(rest, probabilities[top_k - 1]) if len(probabilities) >= top_k else rest
