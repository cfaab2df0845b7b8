"""The p-value keeps its level for whatever losses, and finds what there is to find."""

import numpy as np
import pytest

from trainer_client.cascade.betting import fewest_prompts, p_value

_SETS = 1000


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("kind", ["alike", "in prompts", "differences"])
def test_where_the_promise_is_just_broken_it_is_rarely_believed(limit: float, kind: str) -> None:
    """1,000 sets a case; 11.8 % allows for three standard errors above 10 %. Found: 2 to 8 %."""
    draw = np.random.default_rng(int(1000 * limit))
    believed = 0
    for _ in range(_SETS):
        if kind == "alike":
            losses = (draw.random(600) < limit).astype(float)
        elif kind == "in prompts":  # in half of the prompts nearly all errors: criteria of one hang together
            losses = (draw.random((600, 4)) < np.where(draw.random((600, 1)) < 0.5, 2 * limit, 0)).mean(axis=1)
        else:
            losses = (draw.random(600) < 2 * limit) * 1.0 - (draw.random(600) < limit)
        believed += p_value(losses, limit) <= 0.1
    assert believed <= 0.118 * _SETS


def test_where_it_is_kept_by_far_it_is_believed() -> None:
    draw = np.random.default_rng(1)
    assert sum(p_value((draw.random(600) < 0.02).astype(float), 0.05) <= 0.1 for _ in range(100)) >= 95


def test_without_a_loss_so_many_prompts_are_needed() -> None:
    needed = fewest_prompts(0.01, 0.05)
    assert (p_value(np.zeros(needed), 0.01) <= 0.05) and (p_value(np.zeros(needed - 1), 0.01) > 0.05)
    # The binomial, which knows its one size of bet, needs 299.
    assert 299 <= needed <= 1.5 * 299


def test_no_prompt_and_nothing_but_losses_prove_nothing() -> None:
    assert p_value(np.empty(0), 0.1) == 1.0
    assert p_value(np.ones(500), 0.1) == 1.0
    assert p_value(np.append(np.ones(1), np.zeros(2000)), 0.05) < 0.05  # one bad prompt is not the end
