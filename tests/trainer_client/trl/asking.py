"""Asks a judge's reward function as TRL does, and keeps what it logs."""

import asyncio
from collections import defaultdict
from typing import Any

from tests.trainer_client.trl import quiet_trl  # noqa: F401  before anything that imports TRL
from trainer_client.data.rows import Row
from trainer_client.trl.trainer import JudgeReward, dataset

END = 2


class Log:
    """What TRL would be told."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}
        self.metrics: dict[str, list[float]] = defaultdict(list)

    def column(self, name: str, values: list[Any]) -> None:
        assert name not in self.columns
        self.columns[name] = values

    def metric(self, name: str, value: float) -> None:
        self.metrics[name].append(value)


def asked(
    judge: JudgeReward, given: list[Row], answers: list[str], *, ids: Any = None, log: Log | None = None, **columns: Any
) -> list[float | None]:
    """As TRL asks: one prompt, one completion and one list of ids for each answer."""
    prompts = dataset(given)["prompt"]
    completions = [[{"role": "assistant", "content": answer}] for answer in answers]
    log = log or Log()
    ids = ids or [[5, END] for _ in answers]
    logs: dict[str, Any] = {"log_extra": log.column, "log_metric": log.metric}
    return asyncio.run(judge(list(prompts), completions, ids, trainer_state=None, **logs, **columns))
