"""How many replicas: enough for the tokens, and no more."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve.autoscaling_policy import _apply_autoscaling_config
from ray.serve.config import AutoscalingConfig

from service.hosting.ray.autoscaling import TOKENS, QueuedTokensPolicy, desired_replicas

TOLD = st.dictionaries(st.text(max_size=3), st.integers(0, 10**9).map(float), max_size=20)


@given(TOLD, st.integers(1, 10**7).map(float))
def test_each_has_its_target_at_most_and_one_less_would_not_do(tokens: dict[str, float], target: float) -> None:
    found, total = desired_replicas(tokens, target), sum(tokens.values())
    assert found * target >= total
    assert found == 0 or (found - 1) * target < total


@given(TOLD, st.floats(0, 1e9), st.integers(1, 10**7).map(float))
def test_more_tokens_never_need_fewer(tokens: dict[str, float], more: float, target: float) -> None:
    assert desired_replicas({**tokens, "one more": more}, target) >= desired_replicas(tokens, target)


def context(told: dict[str, float] | None, target_replicas: int = 3, **config: Any) -> Any:
    config = {"min_replicas": 1, "max_replicas": 10, "upscale_delay_s": 0, "downscale_delay_s": 60, **config}
    return SimpleNamespace(
        aggregated_metrics=None if told is None else {TOKENS: told},
        current_num_replicas=target_replicas,
        target_num_replicas=target_replicas,
        total_num_requests=0,
        config=AutoscalingConfig(**config),
        policy_state={},
    )


def test_replicas_that_tell_nothing_change_nothing() -> None:
    policy = QueuedTokensPolicy(100.0)
    assert policy(context(None)) == (3, {})
    assert policy(context({})) == (3, {})
    assert policy(context({"a": 0.0})) == (0, {})
    assert policy(context({"a": 250.0, "b": 160.0})) == (5, {})


def test_ray_delays_what_it_wants() -> None:
    """With Ray's own delays around it: up at once, down after a minute of wanting it."""
    policy = _apply_autoscaling_config(QueuedTokensPolicy(100.0).__call__)
    assert policy(context({"a": 450.0}))[0] == 5
    assert policy(context({"a": 50.0}))[0] == 3


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan])
def test_a_target_that_makes_no_sense_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        QueuedTokensPolicy(target)
