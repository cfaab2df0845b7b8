"""The self-internalisation gap and its trend, against calculations by hand."""

from math import comb

import numpy as np
import pytest

from trainer_client.watch.internalisation import Checkpoint, falls, gap, trend


def test_the_gap_by_hand() -> None:
    prompt, conditioned = np.array([[-2.0, -4.0], [-1.0, -1.0]]), np.array([[-1.0, -1.0], [-1.0, -0.5]])
    assert gap(prompt, conditioned) == pytest.approx([-2, -0.25])


def test_the_sign_test_by_hand() -> None:
    before, after = np.zeros(6), np.array([-1.0, -1, -1, -1, 1, 0])
    assert falls(before, after) == pytest.approx((comb(5, 4) + comb(5, 5)) / 2**5)
    assert falls(before, before) == 1.0


def _run(means: list[float], random: np.random.Generator, prompts: int = 60) -> list[Checkpoint]:
    own = random.normal(0, 0.3, prompts)
    return [Checkpoint(step, mean + own + random.normal(0, 0.05, prompts)) for step, mean in enumerate(means)]


def test_a_gap_that_turns_back_is_found_and_one_that_closes_is_not() -> None:
    """200 runs that close and stay: at most 1 % may be called fallen."""
    random = np.random.default_rng(0)
    turned = trend(_run([-1, -0.6, -0.3, -0.4, -0.5], random), 0.01)
    assert (turned.best, turned.fallen) == (2, 3) and turned.p < 0.01
    assert turned.gaps[2].value == pytest.approx(-0.3, abs=0.1) and turned.gaps[2].low is not None
    wrong = sum(trend(_run([-1, -0.6, -0.3, -0.2, -0.2], random), 0.01).fallen is not None for _ in range(200))
    assert wrong <= 2, wrong
