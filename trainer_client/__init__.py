"""Gives a training job its rewards: `JudgeClient` scores responses at a rubricd service.

    from trainer_client import Failed, JudgeClient, Scored, reward

Everything here needs httpx and pydantic only. A name is loaded when it is first used, so that the service can import
the contract, `trainer_client.wire`, without httpx.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = [
    "CompareOptions",
    "Compared",
    "Failed",
    "JudgeClient",
    "Outcome",
    "RetryPolicy",
    "ScoreOptions",
    "Scored",
    "SyncJudgeClient",
    "errors",
    "reward",
    "reward_function",
    "score_table",
    "wire",
]

if TYPE_CHECKING:
    from trainer_client import errors, wire
    from trainer_client.client import (
        Compared,
        CompareOptions,
        Failed,
        JudgeClient,
        Outcome,
        RetryPolicy,
        Scored,
        ScoreOptions,
        SyncJudgeClient,
        reward,
    )
    from trainer_client.tables import score_table
    from trainer_client.trl.reward import reward_function
else:
    # Hidden from type checkers, which would let any name pass.

    def __getattr__(name: str) -> object:
        if name in ("errors", "wire"):
            return import_module(f"{__name__}.{name}")
        if name in __all__:
            module = {"reward_function": "trl.reward", "score_table": "tables"}.get(name, "client")
            return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
