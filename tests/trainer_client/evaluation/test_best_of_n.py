"""The estimate of the best of N against all draws, one by one."""

from itertools import combinations
from math import comb
from random import Random
from statistics import fmean

import pytest

from trainer_client.evaluation.best_of_n import SIZES, expected_selected


def by_all_draws(judged: list[float], truth: list[float], size: int) -> float:
    """The mean, over all draws of `size` samples, of the mean truth of those that the judge puts first."""
    found = []
    for draw in combinations(range(len(judged)), size):
        top = max(judged[place] for place in draw)
        found.append(fmean(truth[place] for place in draw if judged[place] == top))
    return fmean(found)


def test_the_estimate_is_the_mean_over_all_draws() -> None:
    random, wrong, tried = Random(3), 0, 0
    for _ in range(60):
        count = random.randint(1, 9)
        judged = [random.choice((0.0, 0.25, 0.5, 1.0, random.random())) for _ in range(count)]  # with ties
        truth = [random.uniform(-1, 1) for _ in range(count)]
        sizes = range(1, count + 1)
        for size, found in zip(sizes, expected_selected(judged, truth, list(sizes)), strict=True):
            tried += 1
            wrong += found != pytest.approx(by_all_draws(judged, truth, size), abs=1e-12)
        assert expected_selected(judged, judged, [count]) == [pytest.approx(max(judged))]
    assert tried > 200 and wrong == 0


def test_right_and_wrong_samples_give_pass_at_k() -> None:
    """Of n answers with c right ones: 1 - C(n - c, k) / C(n, k) (Chen et al., 2107.03374)."""
    for right, count, size in ((3, 2048, 1024), (1, 2048, 2048), (40, 500, 32), (0, 10, 4)):
        samples = [1.0] * right + [0.0] * (count - right)
        expected = 1 - comb(count - right, size) / comb(count, size)
        assert expected_selected(samples, samples, [size]) == [pytest.approx(expected, abs=1e-9)]


def test_there_is_a_value_up_to_2048_and_none_beyond_the_samples() -> None:
    random = Random(1)
    samples = [random.random() for _ in range(2048)]
    found = expected_selected(samples, samples)
    assert len(found) == len(SIZES) == 12 and None not in found
    # Of n uniform values the highest of N is N / (N + 1) on average.
    assert [one for one in found if one is not None] == pytest.approx([n / (n + 1) for n in SIZES], abs=0.02)
    assert expected_selected([0.3, 0.7], [0.3, 0.7], [1, 2, 4]) == [pytest.approx(0.5), pytest.approx(0.7), None]
    assert expected_selected([], [], [1]) == [None]
    with pytest.raises(ValueError, match="as many"):
        expected_selected([1.0], [], [1])
