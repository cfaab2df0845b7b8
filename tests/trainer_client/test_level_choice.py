"""Which level is taken, by hand and at random, and what it is worth."""

import random

from trainer_client.level_choice import chosen_level, expected_value, is_met, p_met

THREE = (0.0, 0.5, 1.0)


def test_the_most_likely_level_is_taken_and_of_equal_ones_the_better_then_the_first() -> None:
    assert chosen_level((0.4, 0.35, 0.25), THREE, 0.5) == 0
    assert chosen_level((0.3, 0.4, 0.3), THREE, 0.9) == 1
    assert chosen_level((0.4, 0.2, 0.4), THREE, 0.5) == 2
    assert chosen_level((0.4, 0.2, 0.4), THREE[::-1], 0.5) == 0
    assert chosen_level((0.4, 0.2, 0.4), (0.5, 1.0, 0.5), 0.5) == 0


def test_of_two_levels_the_threshold_decides_in_either_order() -> None:
    assert [chosen_level((0.3, 0.7), (0.0, 1.0), threshold) for threshold in (0.5, 0.7, 0.8)] == [1, 1, 0]
    assert [chosen_level((0.7, 0.3), (1.0, 0.0), threshold) for threshold in (0.5, 0.7, 0.8)] == [0, 0, 1]
    assert chosen_level((0.7, 0.3), (0.5, 0.5), 0.8) == 0, "two choices of one value: the most likely one"


def test_met_is_above_zero_and_at_or_above_the_threshold() -> None:
    assert [is_met(value, 0.5) for value in THREE] == [False, True, True]
    assert not is_met(0.0, 0.0)
    assert p_met((0.25, 0.5, 0.25), THREE, 0.5) == 0.75
    assert p_met((0.25, 0.5, 0.25), THREE, 0.6) == 0.25


def test_of_10_000_random_distributions_no_number_leaves_its_range() -> None:
    rng, wrong = random.Random(3), 0
    for _ in range(10_000):
        values = [rng.choice([0.0, 0.1, 0.3, 0.7, 1.0]) for _ in range(rng.randint(2, 9))]
        weights = [rng.random() ** 9 + 1e-300 for _ in values]
        p = [weight / sum(weights) for weight in weights]
        wrong += not min(values) <= expected_value(p, values) <= max(values)
        wrong += not 0 <= p_met(p, values, rng.random()) <= 1
        wrong += not 0 <= chosen_level(p, values, rng.random()) < len(values)
    assert wrong == 0
