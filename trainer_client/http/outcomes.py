"""Defines what a call of the client gives for each response: the service's result, or the reason why there is none."""

from dataclasses import dataclass

from trainer_client import wire
from trainer_client.errors import RubricdClientError


@dataclass(frozen=True, slots=True)
class Scored:
    """The service's result for one response. `result.score` may still be None, and `result.criteria` tell why.
    `attempts` counts the requests that held the response until it had this result."""

    result: wire.Result
    judge: wire.Judge
    attempts: int = 1

    @property
    def id(self) -> str:
        return self.result.id


@dataclass(frozen=True, slots=True)
class Compared:
    """The service's result for one pair. `comparison.p` may still be None, and `comparison.status` tells why."""

    comparison: wire.Comparison
    judge: wire.Judge
    attempts: int = 1

    @property
    def id(self) -> str:
        return self.comparison.id


@dataclass(frozen=True, slots=True)
class Failed:
    """No result for this response or pair, and the error that is the reason."""

    id: str
    error: RubricdClientError


Outcome = Scored | Failed


def reward(outcome: Outcome) -> float | None:
    """The score of the outcome, by the aggregation of its request. None where there is none: a response that was not
    judged has no reward, not a reward of zero."""
    return outcome.result.score if isinstance(outcome, Scored) else None
