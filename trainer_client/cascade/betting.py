"""Tests by betting whether the mean loss of prompts is above a limit, whatever the losses' distribution is.

The null hypothesis: the losses X of independent prompts, each at most 1, have a mean of `limit` or more. A capital of 1
is staked on the contrary: each prompt multiplies it by 1 + c (limit - X), with 0 < c <= 1 / (1 - limit), so that it is
never below 0. Under the null hypothesis no factor's mean is above 1, so that the capital K reaches 1/a at any time with
a chance of at most a (Ville, 1939): min(1, 1 / max K) is a p-value (Waudby-Smith and Ramdas, "Estimating means of
bounded random variables by betting", JRSSB 2024, arXiv 2010.09686). The capital is shared among bets of several sizes
c; a sum of capitals is a capital. With the largest c alone and no loss the p-value is the binomial's, (1 - limit)^n.

Guarantees: nothing is assumed of the losses' distribution, nor of criteria within one prompt.
"""

from math import ceil, log

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SHARES = 2.0 ** (-np.arange(13) / 2)
"""Of the largest bet: from all of it to 1/64. Each is first given capital in this proportion, as few labels can prove
little with small bets."""
_STAKES = _SHARES / _SHARES.sum()
_NOTHING = -700.0
"""The log of a capital that is as good as lost."""


def p_value(losses: Floats, limit: float) -> float:
    """That the mean of the losses, one a prompt and each at most 1, is `limit` or more. Their order must have been
    chosen without them. 1 where no prompt is there."""
    if not losses.size:
        return 1.0
    largest = 1 / (1 - limit)
    with np.errstate(divide="ignore"):
        grown = np.log(np.maximum(1 + np.outer(_SHARES * largest, limit - losses), 0.0)).cumsum(axis=1)
    most = np.maximum(grown.max(axis=0), _NOTHING)
    capital = most + np.log(np.maximum(_STAKES @ np.exp(grown - most), np.finfo(float).tiny))
    return float(min(np.exp(-capital.max()), 1.0))


def fewest_prompts(limit: float, delta: float) -> int:
    """So many prompts without any loss are needed for a p-value of `delta`, and fewer never give one."""
    few, many = 0, ceil(log(_SHARES.sum() / delta) / log(1 / (1 - limit)))
    while many - few > 1:
        middle = (few + many) // 2
        if p_value(np.zeros(middle), limit) <= delta:
            many = middle
        else:
            few = middle
    return many
