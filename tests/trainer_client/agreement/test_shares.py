"""Checks the interval of a share against scipy's, which nobody here wrote."""

import pytest
from scipy.stats import binomtest

from trainer_client.agreement.shares import wilson


def test_it_is_scipys() -> None:
    """Of all of 1,325 pairs up to 50 trials, and of some large ones."""
    pairs = [(hits, n) for n in range(1, 51) for hits in range(n + 1)] + [(0, 10_000), (3, 10_000), (9_999, 10_000)]
    for hits, n in pairs:
        wanted = binomtest(hits, n).proportion_ci(method="wilson")
        assert wilson(hits, n) == pytest.approx((wanted.low, wanted.high), abs=1e-12), (hits, n)


def test_it_holds_the_share_and_is_no_point() -> None:
    for n in (1, 2, 7, 1_000_000):
        for hits in (0, n / 3, n):
            low, high = wilson(hits, n)
            assert 0 <= low <= hits / n <= high <= 1 and low < high


def test_of_nothing_a_share_is_anywhere() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
