"""The tests behind the alarms keep their chance of a false alarm, looked at after every step, and find changes."""

from math import log

import numpy as np
import pytest

from trainer_client.watch.evidence import Floats, Ints, against, at_best, shares, upper_bound

STEPS, PER_STEP = 60, 8


def _steps() -> Ints:
    return np.repeat(np.arange(STEPS), PER_STEP)


def _beta(random: np.random.Generator, mean: float, spread: float) -> Floats:
    return random.beta(mean * spread, (1 - mean) * spread, STEPS * PER_STEP)


@pytest.mark.parametrize("limit", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["coin", "narrow", "wide"])
def test_under_the_null_500_streams_of_each_kind_raise_no_more_false_alarms_than_declared(
    limit: float, kind: str
) -> None:
    """The mean is exactly the limit, which is the worst case, and every step is looked at."""
    random, chance, alarms = np.random.default_rng(0), 0.05, 0
    for _ in range(500):
        if kind == "coin":
            values = (random.random(STEPS * PER_STEP) < limit).astype(np.float64)
        else:
            values = _beta(random, limit, 20.0 if kind == "narrow" else 1.0)
        alarms += against(values, _steps(), limit).onset(chance) is not None
    assert alarms <= 0.05 * 500, alarms


def test_a_mean_that_wanders_below_the_limit_raises_no_more_either() -> None:
    random, alarms = np.random.default_rng(1), 0
    wave = 0.25 + 0.25 * np.sin(_steps() / 7)
    for _ in range(500):
        values = (random.random(wave.shape[0]) < wave).astype(np.float64)
        alarms += against(values, _steps(), 0.5).onset(0.05) is not None
    assert alarms <= 25, alarms


def test_a_change_is_found_soon_and_not_before_it_happens() -> None:
    random, delays = np.random.default_rng(2), []
    for _ in range(100):
        means = np.where(_steps() < 30, 0.2, 0.7)
        values = (random.random(means.shape[0]) < means).astype(np.float64)
        onset = against(values, _steps(), 0.4).onset(0.001)
        assert onset is not None and onset >= 30
        delays.append(onset - 30)
    assert np.median(delays) <= 12, np.median(delays)


def test_what_comes_later_changes_nothing_that_was_found() -> None:
    random = np.random.default_rng(3)
    values = random.random(STEPS * PER_STEP)
    whole = against(values, _steps(), 0.4)
    for end in range(1, STEPS, 9):
        part = against(values[: end * PER_STEP], _steps()[: end * PER_STEP], 0.4)
        assert np.allclose(part.log_capital, whole.log_capital[:end])


def test_the_capital_by_hand() -> None:
    """Two values in two steps: of the first capital 1/2 plays from the first on and 1/6 from the second on."""
    bets = [0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9]
    first = sum(1 / 2 / 7 * (1 + b / 0.5 * 0.5) for b in bets)
    second = sum((1 / 2 / 7 * (1 + b / 0.5 * 0.5) + 1 / 6 / 7) * (1 + b / 0.5 * -0.5) for b in bets)
    found = against(np.array([1.0, 0.0]), np.array([3, 7]), 0.5)
    assert found.log_capital == pytest.approx([log(first + 1 / 2), log(second + 1 / 3)])
    assert list(found.steps) == [3, 7] and found.onset(0.9) == 3 and found.onset(0.01) is None


def test_no_values_and_endless_ones_have_evidence() -> None:
    nothing = against(np.empty(0), np.empty(0, np.intp), 0.5)
    assert nothing.largest == 0 and nothing.onset(0.5) is None
    endless = against(np.ones(20_000), np.arange(20_000), 0.1)
    assert np.isfinite(endless.log_capital).all() and endless.largest > 600


def test_at_best_is_a_bound() -> None:
    for limit in (0.1, 0.5, 0.9):
        assert against(np.ones(30), np.zeros(30, np.intp), limit).largest <= at_best(30, limit)


@pytest.mark.parametrize("mean", [0.05, 0.5, 0.95])
def test_an_upper_bound_fails_no_more_often_than_declared(mean: float) -> None:
    random, failed, widths = np.random.default_rng(4), 0, []
    for _ in range(300):
        values = _beta(random, mean, 30.0)[:128]
        bound = upper_bound(values, 0.05)
        failed += bound < mean
        widths.append(bound - mean)
    assert failed <= 15, failed
    assert np.median(widths) < 0.06
    assert upper_bound(np.empty(0), 0.05) == upper_bound(np.ones(5), 0.05) == 1.0
    assert upper_bound(np.zeros(1), 0.01) > 0.99


def test_shares_of_the_chance_sum_up_to_less_than_one() -> None:
    assert sum(shares(10_000)) < 1 and shares(3) == [1 / 2, 1 / 6, 1 / 12]
