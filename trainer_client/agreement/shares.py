"""Says between what a share lies of which a sample was seen, by Wilson's interval, for everything that has one.

It does not end in a point where every one of the sample is alike, and it keeps within 0..1 (E. B. Wilson, "Probable
Inference, the Law of Succession, and Statistical Inference", Journal of the American Statistical Association 22, 1927;
Brown, Cai and DasGupta, "Interval Estimation for a Binomial Proportion", Statistical Science 16, 2001).

Guarantees: the interval holds the share. Of nothing the share is anywhere, from 0 to 1.
"""

from math import sqrt
from statistics import NormalDist

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


def wilson(hits: float, n: int) -> tuple[float, float]:
    """The interval of `hits` of `n` at level 95 %. Hits need not be whole: they may be a share times `n`."""
    if n == 0:
        return 0.0, 1.0
    share, below = hits / n, 1 + Z * Z / n
    middle = (share + Z * Z / (2 * n)) / below
    half = Z / below * sqrt(max(share * (1 - share), 0.0) / n + Z * Z / (4 * n * n))
    # Rounding must not put an end on the wrong side of a share of 0 or 1.
    return max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0)
