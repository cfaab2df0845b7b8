"""Scores rollouts as a training job needs it: a judge that is not available is waited for, within a limit of seconds.

Guarantees: an outcome is the service's, and none is made up. The retries are those of `trainer_client.http.retry`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.client import ClientUsage, Failed, JudgeClient, Outcome, ScoreOptions
from trainer_client.errors import DeadlineExceeded
from trainer_client.http.retry import may_be_judged_later
from trainer_client.ledger.outcomes import OutcomeLedger


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """The judge service, the options of its scores, and what a training does about rollouts without a reward."""

    url: str | tuple[str, ...]
    """One address or several, which serve the same judge (see `JudgeClient`)."""
    token: str | None = None
    options: ScoreOptions = field(default_factory=ScoreOptions)
    judge_timeout_s: float = 600.0
    """Seconds that a batch of rollouts waits for its judge, all attempts together."""
    concurrency: int = 8
    timeout_s: float = 300.0
    max_missing_fraction: float = 0.5
    """The largest share of a process's rollouts without a reward with which a step is taken; above it the run stops."""
    reasoning: wire.Reasoning | Mapping[str, Any] = "remove"
    """Whether the policy's reasoning is taken off its answers before they are sent."""
    ledger: Path | None = None
    """The folder to whose files a line for each verdict is added. None: to none."""
    truncation_penalty: float | None = None
    """A truncated answer's reward is min(score, 0) minus this. None: its reward is its score."""

    def client(self) -> JudgeClient:
        return JudgeClient(self.url, token=self.token, concurrency=self.concurrency, timeout_s=self.timeout_s)


class RewardClient:
    """Scores rollouts for one process of a training job."""

    def __init__(self, config: JudgeConfig, client: JudgeClient | None = None) -> None:
        self._config = config
        self._client = client or config.client()
        self._ledger = None if config.ledger is None else OutcomeLedger(config.ledger)

    async def score(self, items: Sequence[wire.Item]) -> list[Outcome]:
        """One outcome a response, in order, as `JudgeClient.score`. Raises Unauthorized, Forbidden, JudgeMismatch and
        ContractError: after these no response is judged until a person changes something."""
        config = self._config
        outcomes = await self._client.score(items, wait_for_judge_s=config.judge_timeout_s, **config.options)
        if self._ledger is not None:
            await asyncio.to_thread(self._ledger.add, items, outcomes)
        return outcomes

    @property
    def usage(self) -> ClientUsage:
        """As `JudgeClient.usage`."""
        return self._client.usage

    async def aclose(self) -> None:
        await self._client.aclose()


def may_change(outcome: Outcome) -> bool:
    """Returns whether there is no reward yet and the same request may bring one later."""
    if isinstance(outcome, Failed):
        return outcome.error.retryable or isinstance(outcome.error, DeadlineExceeded)
    return may_be_judged_later(outcome.result)


def why_missing(outcome: Outcome) -> str:
    """`ok`, the error's code, or the statuses of the criteria that were not judged."""
    if isinstance(outcome, Failed):
        return outcome.error.code
    if outcome.result.score is not None:
        return "ok"
    statuses = sorted({criterion.status for criterion in outcome.result.criteria if criterion.status != "ok"})
    return " and ".join(statuses) or outcome.result.status
