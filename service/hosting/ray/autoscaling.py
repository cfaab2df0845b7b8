"""The autoscaling policy asks for as many replicas as the tokens need that wait and that are at the engines.

Guarantees: replicas that report nothing change nothing. Bounds, delays and hysteresis are Ray's own
(`autoscaling_config`), and so is the mean over `look_back_period_s`. Ray sends this module to its controller by value,
so it imports nothing of ours.
"""

import math
from collections.abc import Mapping
from typing import Any

TOKENS = "rubricd_tokens"


def desired_replicas(tokens: Mapping[str, float], target_tokens: float) -> int:
    """The number of replicas with which each has at most `target_tokens`. `tokens` is what each has now. Pure."""
    return math.ceil(sum(tokens.values()) / target_tokens)


class QueuedTokensPolicy:
    """A policy of Ray Serve. One replica should have `target_tokens` waiting and at its engine."""

    def __init__(self, target_tokens: float) -> None:
        if not target_tokens > 0:
            raise ValueError("target_tokens must be above zero")
        self._target_tokens = target_tokens

    def __call__(self, ctx: Any) -> tuple[int, dict[str, Any]]:
        """The number of replicas, and the policy's state, which is empty. `ctx` is Ray's AutoscalingContext."""
        reported = (ctx.aggregated_metrics or {}).get(TOKENS, {})
        tokens = {str(replica): float(value) for replica, value in reported.items()}
        return (desired_replicas(tokens, self._target_tokens) if tokens else ctx.target_num_replicas), {}
