"""How many replicas the tokens that wait, and are at the engines, need.

Always true: replicas that tell nothing change nothing. Bounds, delays and hysteresis are Ray's own
(`autoscaling_config`), and so is the mean over `look_back_period_s`. Ray sends this module to its controller by value,
so it imports nothing of ours.
"""

import math
from collections.abc import Mapping
from typing import Any

TOKENS = "rubricd_tokens"


def desired(tokens: Mapping[str, float], target_tokens: float) -> int:
    """Replicas so that each has at most `target_tokens`, given what each has now. Pure."""
    return math.ceil(sum(tokens.values()) / target_tokens)


class QueuedTokens:
    """A policy of Ray Serve. `target_tokens`: what one replica should have waiting and at its engine."""

    def __init__(self, target_tokens: float) -> None:
        if not target_tokens > 0:
            raise ValueError("target_tokens must be above zero")
        self._target_tokens = target_tokens

    def __call__(self, ctx: Any) -> tuple[int, dict[str, Any]]:
        """Replicas wanted, and what to remember: nothing. `ctx` is Ray's AutoscalingContext."""
        told = (ctx.aggregated_metrics or {}).get(TOKENS, {})
        tokens = {str(replica): float(value) for replica, value in told.items()}
        return (desired(tokens, self._target_tokens) if tokens else ctx.target_num_replicas), {}
