"""What the policy does already weighs little, by a calculation by hand."""

from random import Random

import pytest

from trainer_client import wire
from trainer_client.live_rubrics.pass_rates import PassRates

RUBRIC = [
    wire.Criterion(id="a", text="Says a.", points=3),
    wire.Criterion(text="Says b.", points=1),
    wire.Criterion(id="c", text="Lies.", points=-2),
    wire.Criterion(id="d", text="Says d.", points=1),
]


def test_weights_by_hand() -> None:
    """a: 3 of 4 meet it, so (3 + 1) / (4 + 2) is learnt; 1, the second's id: 0 of 2; c, a fault: 1 of 3 has it."""
    group = [
        {"a": True, "1": False},
        {"a": True, "c": True},
        {"a": True, "1": False, "c": False},
        {"a": False, "c": False},
    ]
    rates = PassRates().after(group)
    assert rates.weights(RUBRIC) == pytest.approx([1 - 4 / 6, 1 - 1 / 4, 1 - 3 / 5, 0.5])
    later = rates.after([{"a": False}, {"a": False}])
    assert later.counts["a"] == (1.5, 4.0) and later.counts["1"] == (0.0, 1.0), "older answers count half"
    assert later.weights(RUBRIC)[0] == pytest.approx(1 - 2.5 / 6)


def test_10_000_weights_lie_between_0_and_1() -> None:
    random, rates = Random(3), PassRates()
    for _ in range(10_000):
        ids = random.sample(["a", "1", "c", "d"], random.randint(0, 4))
        always = random.random() < 0.5
        rates = rates.after([{id: always or random.random() < 0.5 for id in ids}] * random.randint(0, 8))
        assert all(0 < one < 1 for one in rates.weights(RUBRIC))
