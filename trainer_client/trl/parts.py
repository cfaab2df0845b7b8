"""Gives GRPO several rewards: the judge's verdicts by tag or criterion, and functions beside the judge.

Guarantees: a part without a verdict for each of its criteria is None. A rollout that was not judged has no reward at
all, whatever another function says of it. TRL normalises each reward within its group before it adds them up, so that
a None counts as no opinion.
"""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from trainer_client import wire
from trainer_client.client import Scored, reward
from trainer_client.reward_client import JudgeConfig
from trainer_client.reward_parts import By, names, split
from trainer_client.trl.metrics import Judged
from trainer_client.trl.prompt_row import Prompt, Row, row_of
from trainer_client.trl.reward import JudgeReward

NoneMeans = Literal["no_opinion", "zero"]


@dataclass(frozen=True, slots=True)
class Beside:
    """A reward function beside the judge, as TRL calls one. `none` is what its None means."""

    name: str
    function: Callable[..., Any]
    weight: float = 1.0
    none: NoneMeans = "no_opinion"


class SplitReward(JudgeReward):
    """The judge's score, which is logged, with the parts of it beside it, which are the rewards."""

    def __init__(self, *args: Any, by: By, soft: bool, **more: Any) -> None:
        super().__init__(*args, **more)
        self._by, self._soft = by, soft
        self.parts: asyncio.Future[list[dict[str, float] | None]]
        """Of the batch that TRL is asking about; None where a rollout was not judged."""

    def __reduce__(self) -> tuple[Any, ...]:
        more = {"ends": tuple(self._ends), "name": self.__name__}
        made = partial(SplitReward, self._judging, by=self._by, soft=self._soft, **more)
        return made, (), {"_answers": self._answers}

    async def __call__(self, *args: Any, **more: Any) -> list[float | None]:
        # TRL starts the functions in their order, and this one is the first.
        self.parts = asyncio.get_running_loop().create_future()
        try:
            return await super().__call__(*args, **more)
        except BaseException as error:
            self.parts.set_exception(error)
            raise

    def _hear(self, judged: Sequence[Judged], prompts: Sequence[Prompt], cut: Sequence[bool]) -> None:
        self.parts.set_result([self._split(*one) for one in zip(judged, prompts, cut, strict=True)])

    def _split(self, judged: Judged, prompt: Prompt, cut: bool) -> dict[str, float] | None:
        if not isinstance(judged.outcome, Scored) or reward(judged.outcome) is None:
            return None
        if self._by == "total":
            return {}
        own = judged.rubric
        rubric = own.counted if own else wire.Rubric.model_validate(row_of(prompt)["rubric"]).criteria
        parts = split(judged.outcome.result, rubric, self._by, soft=self._soft)
        return {name: self.charged(value, cut) for name, value in parts.items()}


class PartReward:
    """One part of the judge's score as a reward function of its own."""

    def __init__(self, judge: SplitReward, name: str) -> None:
        self.__name__ = f"judge/{name}"
        self._judge, self._name = judge, name

    async def __call__(self, **columns: Any) -> list[float | None]:
        return [None if parts is None else parts.get(self._name) for parts in await self._judge.parts]


class BesideReward:
    """A function beside the judge. It may be asynchronous."""

    def __init__(self, judge: SplitReward, beside: Beside) -> None:
        self.__name__ = beside.name
        self._judge, self._beside = judge, beside

    async def __call__(self, **columns: Any) -> list[float | None]:
        found = self._beside.function(**columns)
        values = list(await found if inspect.isawaitable(found) else found)
        if self._beside.none == "zero":
            values = [0.0 if value is None else value for value in values]
        judged = await self._judge.parts
        return [None if parts is None else value for parts, value in zip(judged, values, strict=True)]


def functions(
    rows: Sequence[Row], judging: JudgeConfig, *, by: By, beside: Sequence[Beside], ends: Sequence[int]
) -> tuple[JudgeReward, list[Any], dict[str, Any]]:
    """The judge, TRL's reward functions with the judge as the first, and TRL's settings for them. With parts the score
    is logged and counts for nothing."""
    parts = names(rows, by)
    if not parts and not beside:
        alone = JudgeReward(judging, ends=ends)
        return alone, [alone], {}
    judge = SplitReward(judging, ends=ends, by=by, soft=bool(judging.options.get("soft")))
    weights = [0.0 if parts else 1.0, *(1.0 for _ in parts), *(one.weight for one in beside)]
    others = [*(PartReward(judge, name) for name in parts), *(BesideReward(judge, one) for one in beside)]
    settings = {"multi_objective_aggregation": "normalize_then_sum", "reward_weights": weights}
    return judge, [judge, *others], settings
