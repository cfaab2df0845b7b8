"""Several seeds and pairs of policies, against calculations by hand and scipy's own tests."""

from random import Random

import numpy as np
import pytest
from scipy import stats

from trainer_client.evaluation.seeds import over_seeds, paired, sign_flip_p, spread, student_95


def test_seeds_have_their_means_and_these_a_mean_and_a_spread() -> None:
    found = over_seeds({"a": [1.0, 0.0, 1.0], "b": [0.0, 0.0, None], "c": [None, None, None]})
    assert found.seeds == (0.5, 0.0, 1.0)
    assert (found.mean, found.std) == (0.5, 0.5)
    assert found.interval.n == 2 and found.interval.value == pytest.approx((2 / 3 + 0) / 2)
    alone = over_seeds({"a": [1.0]})
    assert (alone.mean, alone.std, alone.interval.low) == (1.0, None, None)
    assert over_seeds({}).mean is None
    assert spread([1.0, 2.0, 3.0, 4.0]) == pytest.approx(np.std([1, 2, 3, 4], ddof=1))


def test_means_are_weighed_and_clipped_after_averaging() -> None:
    found = over_seeds({"a": [1.0], "b": [0.0]}, weights={"a": 3.0, "b": 1.0})
    assert (found.mean, found.interval.value) == (0.75, 0.75)
    clipped = over_seeds({"a": [1.0, 0.0], "b": [-23 / 7, 1.0]}, clips=True)
    assert (clipped.seeds, clipped.mean, clipped.interval.low) == ((0.0, 0.5), 0.0, 0.0)


def test_a_clipped_mean_over_seeds_is_that_of_all_answers_together() -> None:
    """As simple-evals' `n_repeats` has it, for 1,000 policies. The mean of seeds that are clipped is often higher."""
    random = Random(6)
    higher = 0
    for _ in range(1000):
        prompts, seeds = random.randint(1, 6), random.randint(1, 4)
        level = random.uniform(-1.0, 0.5)
        values = {f"{n}": [random.gauss(level, 0.6) for _ in range(seeds)] for n in range(prompts)}
        found = over_seeds(values, clips=True)
        pooled = np.clip(np.mean(list(values.values())), 0.0, 1.0)
        assert found.mean == pytest.approx(pooled) and found.interval.value == pytest.approx(pooled)
        higher += np.mean([one for one in found.seeds if one is not None]) > pooled + 1e-6
    assert higher > 100


def test_the_interval_over_seeds_is_students() -> None:
    for freedom in (*range(1, 12), 29, 30, 99):
        assert student_95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-6)
    found = over_seeds({"a": [0.3, 0.4, 0.5]})
    low, high = stats.t.interval(0.95, 2, loc=0.4, scale=0.1 / 3**0.5)
    assert found.over_runs == pytest.approx((low, high))


def test_policies_are_compared_prompt_by_prompt() -> None:
    one: dict[str, list[float | None]] = {"a": [1.0, 0.0], "b": [1.0], "c": [0.25], "d": [1.0], "only mine": [1.0]}
    other: dict[str, list[float | None]] = {"a": [0.0], "b": [0.0], "c": [0.25], "d": [None]}
    found = paired(one, other)
    assert found.difference.value == pytest.approx((0.5 + 1 + 0) / 3)
    assert (found.better, found.worse, found.same, found.exact) == (2, 0, 1, True)
    assert found.p == pytest.approx(0.5), "of 4 patterns of signs two are as far out"
    assert paired(one, {}).p is None


def test_the_sign_flips_are_those_of_scipy() -> None:
    random = Random(2)
    for count, exact in ((5, True), (12, True), (40, False)):
        differences = np.array([random.gauss(0.3, 1.0) for _ in range(count)])
        p, was_exact = sign_flip_p(differences)
        wanted = stats.permutation_test(
            (differences, np.zeros(count)),
            lambda x, y: np.mean(x - y),
            permutation_type="samples",
            n_resamples=20_000,
            rng=np.random.default_rng(1),
        ).pvalue
        assert was_exact is exact and p == pytest.approx(wanted, abs=1e-9 if exact else 0.012)


def test_right_and_wrong_answers_are_tested_as_mcnemar_does() -> None:
    for better, worse in ((9, 2), (30, 12), (7, 7), (1, 0), (120, 90)):
        differences = np.array([1.0] * better + [-1.0] * worse + [0.0] * 50)
        p, exact = sign_flip_p(differences)
        assert exact and p == pytest.approx(stats.binomtest(better, better + worse, 0.5).pvalue)
    assert sign_flip_p(np.zeros(4)) == (1.0, True)


def test_random_flips_find_a_difference_and_are_the_same_twice() -> None:
    differences = np.random.default_rng(4).normal(1.0, 1.0, 100)
    found = sign_flip_p(differences)
    assert found == sign_flip_p(differences) and found[0] == pytest.approx(1 / 20_001)
