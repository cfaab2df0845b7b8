"""Says how new a trained policy's answers are to the policy that it was trained from. Pure.

RuscaRL's sequence ratio (2508.16949, appendix D.5) of an answer o to a prompt q is
exp(1/|o| sum over its tokens of log pi_trained(o_t | q) - log pi_base(o_t | q)). Its mean is often that of one answer;
the median and how many ratios are above 2, 10 and 100 say more.

Guarantees: an answer without tokens has no ratio. A ratio is kept as its logarithm, so that none is infinite.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

TAILS = (2, 10, 100)


@dataclass(frozen=True, slots=True)
class Novelty:
    """`above` has how many ratios are above each of 2, 10 and 100; `most` is the largest one's share of the sum."""

    mean: float
    median: float
    above: tuple[int, ...]
    n: int
    most: float

    def as_json(self) -> dict[str, Any]:
        tails = {f"above_{tail}": count for tail, count in zip(TAILS, self.above, strict=True)}
        return {"mean": self.mean, "median": self.median, **tails, "n": self.n, "share_of_largest": self.most}


def log_ratio(trained: Sequence[float], base: Sequence[float]) -> float | None:
    """The logarithm of an answer's ratio, from its tokens' log-probabilities under both policies. Raises ValueError
    where these are of different tokens."""
    if len(trained) != len(base):
        raise ValueError(f"{len(trained)} tokens of the trained policy and {len(base)} of the other one")
    return fmean(one - other for one, other in zip(trained, base, strict=True)) if trained else None


def novelty(log_ratios: Sequence[float]) -> Novelty | None:
    if not log_ratios:
        return None
    ratios = [math.exp(min(one, 700.0)) for one in log_ratios]
    return Novelty(
        mean=fmean(ratios),
        median=median(ratios),
        above=tuple(sum(one > math.log(tail) for one in log_ratios) for tail in TAILS),
        n=len(ratios),
        most=max(ratios) / sum(ratios),
    )


def sampled_entropy(logprobs: Sequence[Sequence[float]]) -> float | None:
    """The entropy of a policy per token in nats, from the log-probabilities of tokens that it drew at temperature 1 and
    top-p 1: the mean of -log p over all of them, which is right on average."""
    tokens = [one for answer in logprobs for one in answer]
    return -fmean(tokens) if tokens else None
