"""Splits the judge's verdicts into a reward for each tag or criterion, for GRPO with several rewards.

Guarantees: a part without a verdict for each of its criteria is None, and so is every part of a rollout that was not
judged. TRL normalises each part within its group before it adds them up, so that a None counts as no opinion.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from trainer_client import wire
from trainer_client.client import Scored, reward
from trainer_client.trl.metrics import Judged
from trainer_client.trl.prompt_row import Prompt, Row, row_of
from trainer_client.trl.reward import JudgeReward

By = Literal["total", "tag", "criterion"]
UNTAGGED = "untagged"
_MOST = 64


def names(rows: Sequence[Row], by: By) -> list[str]:
    """The parts of these rows, sorted; none for `total`. Raises ValueError where a criterion has no name, and for more
    than 64 parts."""
    if by == "total":
        return []
    found: set[str] = set()
    for row in rows:
        for criterion in (one for one in row.rubric.criteria if one.worth != 0) if row.rubric else ():
            if by == "criterion" and criterion.id is None:
                raise ValueError(f"row {row.id}: a criterion has no `id` to name its reward by; set rewards.by to tag")
            found.update(_names(criterion, by))
    if len(found) > _MOST:
        other = "tag" if by == "criterion" else "total"
        raise ValueError(
            f"these rows have {len(found)} parts by {by}, and at most {_MOST} can be rewards; take {other}"
        )
    return sorted(found)


def split(result: wire.Result, rubric: Sequence[wire.Criterion], by: By, *, soft: bool = False) -> dict[str, float]:
    """The reward of each part that has all of its verdicts: the points of the criteria that are met, over the part's
    positive points, or over all where it has none. With `soft` P(met) counts instead of 0 and 1."""
    verdicts = {one.id: one.p if soft else one.met for one in result.criteria}
    parts: dict[str, list[tuple[float, float | None]]] = {}
    for place, criterion in enumerate(rubric):
        if criterion.worth == 0:
            continue
        met = verdicts.get(criterion.id or str(place))
        for name in _names(criterion, by):
            parts.setdefault(name, []).append((criterion.worth, None if met is None else float(met)))
    return {name: _reward(some) for name, some in parts.items() if all(met is not None for _, met in some)}


def _names(criterion: wire.Criterion, by: By) -> list[str]:
    if by == "criterion":
        return [criterion.id or ""]
    return [f"{key}:{value}" for key, value in criterion.tags.items()] or [UNTAGGED]


def _reward(part: Sequence[tuple[float, float | None]]) -> float:
    most = sum(worth for worth, _ in part if worth > 0) or sum(abs(worth) for worth, _ in part)
    return sum(worth * (met or 0.0) for worth, met in part) / most


class SplitReward(JudgeReward):
    """The judge's score, which is logged, with the parts of it beside it, which are the rewards."""

    def __init__(self, *args: Any, by: By, soft: bool, **more: Any) -> None:
        super().__init__(*args, **more)
        self._by, self._soft = by, soft
        self.parts: asyncio.Future[list[dict[str, float]]]
        """Of the batch that TRL is asking about."""

    def __reduce__(self) -> tuple[Any, ...]:
        more = {"ends": tuple(self._ends), "name": self.__name__}
        return partial(SplitReward, self._judging, by=self._by, soft=self._soft, **more), ()

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

    def _split(self, judged: Judged, prompt: Prompt, cut: bool) -> dict[str, float]:
        if not isinstance(judged.outcome, Scored) or reward(judged.outcome) is None:
            return {}
        rubric = wire.Rubric.model_validate(row_of(prompt)["rubric"]).criteria
        parts = split(judged.outcome.result, rubric, self._by, soft=self._soft)
        return {name: self.charged(value, cut) for name, value in parts.items()}


class PartReward:
    """One part of the judge's score as a reward function of its own."""

    def __init__(self, judge: SplitReward, name: str) -> None:
        self.__name__ = f"judge/{name}"
        self._judge, self._name = judge, name

    async def __call__(self, **columns: Any) -> list[float | None]:
        return [parts.get(self._name) for parts in await self._judge.parts]


def settings(parts: Sequence[str]) -> Mapping[str, Any]:
    """TRL's settings for the judge's score and these parts of it: the score is logged and counts for nothing."""
    return {"multi_objective_aggregation": "normalize_then_sum", "reward_weights": [0.0, *(1.0 for _ in parts)]}
