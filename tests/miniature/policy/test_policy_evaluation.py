"""The best of N answers, against every choice of N."""

from itertools import combinations
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniature.policy.policy_evaluation import best_of


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=7), st.integers(1, 7))
def test_the_best_of_n_is_the_mean_over_all_choices(scores: list[float], n: int) -> None:
    n = min(n, len(scores))
    every = mean(max(some) for some in combinations(scores, n))
    assert best_of([scores], n) == pytest.approx(every, abs=1e-9)


def test_the_best_of_one_is_the_mean_over_prompts() -> None:
    assert best_of([[0.0, 1.0], [1.0, 1.0]], 1) == pytest.approx(0.75)
    assert best_of([[0.0, 1.0], [1.0, 1.0]], 2) == pytest.approx(1.0)
