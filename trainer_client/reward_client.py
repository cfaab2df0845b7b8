"""Asking a judge for rewards as a training job does: it waits for a judge that is away, within a budget of seconds.

Always true: what may still be answered is asked again until the budget is spent, and only that; what says that nothing
will ever be answered (a key, another judge, another contract) is raised at once; no outcome is made up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from trainer_client import wire
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.errors import (
    ContractError,
    DeadlineExceeded,
    Forbidden,
    JudgeMismatch,
    Unauthorized,
)
from trainer_client.http.batching import Failed, Outcome, Scored, reward
from trainer_client.http.retry import Clock, RetryPolicy

HOPELESS = (Unauthorized, Forbidden, JudgeMismatch, ContractError)
"""No response of this run will be judged until a person changes something."""
_PASSING: frozenset[wire.CriterionStatus] = frozenset(("timeout", "overloaded", "engine_error", "cancelled"))


@dataclass(frozen=True, slots=True)
class Judging:
    """Which judge is asked, how, and what happens where it does not answer."""

    url: str
    token: str | None = None
    options: ScoreOptions = field(default_factory=ScoreOptions)
    patience_s: float = 600.0
    """Seconds that a batch of rollouts waits for its judge, all attempts together."""
    concurrency: int = 8
    timeout_s: float = 300.0
    most_missing: float = 0.5
    """The largest share of a process's rollouts without a reward with which a step is taken; above it the run stops."""
    unfinished: float | None = None
    """What an answer that was cut off is charged: its reward is min(score, 0) minus this. None: the score as it is."""

    def client(self) -> JudgeClient:
        return JudgeClient(self.url, token=self.token, concurrency=self.concurrency, timeout_s=self.timeout_s)


@dataclass(slots=True)
class Patience:
    """One client, asked again and again. `pauses` are the waits between rounds in which nothing else helps."""

    client: JudgeClient
    options: ScoreOptions
    budget_s: float
    clock: Clock = field(default_factory=Clock)
    pauses: RetryPolicy = field(default_factory=lambda: RetryPolicy(first_wait_s=1.0, longest_wait_s=15.0))
    rng: Random = field(default_factory=Random)

    async def score(self, items: Sequence[wire.Item]) -> list[Outcome]:
        """One outcome a response, in order, as `JudgeClient.score`. Raises what is hopeless."""
        until = self.clock.now() + self.budget_s
        outcomes: list[list[Outcome]] = [[] for _ in items]
        left, round_ = list(range(len(items))), 0
        while left:
            round_ += 1
            budget_s = max(until - self.clock.now(), 0.001)
            answers = iter(await self.client.score([items[n] for n in left], deadline_s=budget_s, **self.options))
            for n in left:
                fresh = [next(answers) for _ in items[n].result_ids(n)]
                outcomes[n] = _better(outcomes[n], fresh)
            _raise_hopeless(outcome for n in left for outcome in outcomes[n])
            left = [n for n in left if any(map(may_change, outcomes[n]))]
            wait_s = self.pauses.wait_s(round_, _asked_for_s(outcomes, left), self.rng)
            if self.clock.now() + wait_s >= until:
                break
            if left:
                await self.clock.sleep(wait_s)
        return [outcome for own in outcomes for outcome in own]


def may_change(outcome: Outcome) -> bool:
    """Whether there is no reward yet and the same question may have one later."""
    if reward(outcome) is not None:
        return False
    if isinstance(outcome, Failed):
        return outcome.error.retryable or isinstance(outcome.error, DeadlineExceeded)
    return any(criterion.status in _PASSING for criterion in outcome.result.criteria)


def why_missing(outcome: Outcome) -> str:
    """`ok`, the error's code, or the statuses of the criteria that were not judged."""
    if isinstance(outcome, Failed):
        return outcome.error.code
    if outcome.result.score is not None:
        return "ok"
    statuses = sorted({criterion.status for criterion in outcome.result.criteria if criterion.status != "ok"})
    return " and ".join(statuses) or outcome.result.status


def _better(old: list[Outcome], new: list[Outcome]) -> list[Outcome]:
    """What was scored before stays; else the service's word, then the newest failure."""
    if not old:
        return new
    return [
        before if reward(before) is not None or (isinstance(before, Scored) and isinstance(now, Failed)) else now
        for before, now in zip(old, new, strict=True)
    ]


def _raise_hopeless(outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, Failed) and isinstance(outcome.error, HOPELESS):
            raise outcome.error


def _asked_for_s(outcomes: Sequence[Sequence[Outcome]], left: Sequence[int]) -> float | None:
    errors = (one.error for n in left for one in outcomes[n] if isinstance(one, Failed))
    return max((error.retry_after_s for error in errors if error.retry_after_s is not None), default=None)
