"""Gives the rewards of a whole batch to trainers with verl's older reward manager `batch`, such as RuscaRL's own code.

Guarantees: a reward is the judge's score, or by a declared rule the lower bound that its verdicts allow, marked
`judged` 0. Where one response of the batch has neither, an error is raised and the batch has no rewards at all: this
manager takes a number for each response, and any number would count in its group's baseline.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from trainer_client import wire
from trainer_client.client import Outcome, Scored, ScoreOptions
from trainer_client.client import reward as reward_of
from trainer_client.data.reader import Law, for_training
from trainer_client.data.records import RowError
from trainer_client.errors import DataError
from trainer_client.http.background_loop import BackgroundLoop
from trainer_client.http.options import check_options
from trainer_client.policy_answers import PolicyAnswers
from trainer_client.reward_client import JudgeConfig, RewardClient, may_change, why_missing
from trainer_client.verl.reward import NotJudged, WhenMissing
from trainer_client.verl.rows import prompt_row


def compute_score_batched(
    data_sources: Sequence[str],
    solution_strs: Sequence[str],
    ground_truths: Sequence[str | None],
    extra_infos: Sequence[Mapping[str, Any] | None],
    *,
    url: str,
    token_env: str = "RUBRICD_KEY",
    judge_timeout_s: float = 600.0,
    concurrency: int = 64,
    timeout_s: float = 300.0,
    when_missing: WhenMissing = "raise",
    reasoning: wire.Reasoning | Mapping[str, Any] = "remove",
    options: Mapping[str, Any] | None = None,
    ledger: str | None = None,
) -> list[dict[str, float]]:
    """Scores a batch: verl's `custom_reward_function` beside `reward_model.reward_manager=batch`. The keyword arguments
    come from its `reward_kwargs`.

    An `extra_info` is of RuscaRL's files (`prompt` and `reward_model.rubrics`) or of those that `to_parquet` writes. A
    response's `score` is the judge's, `judged` is 1 where the whole rubric was judged, `coverage` the share that was.
    `options` are those of `JudgeClient.score`; their `pitfalls` says what meeting a pitfall means. With `when_missing`
    `lower_bound` a response that was judged in part has its lower bound. Raises NotJudged where a response has no
    reward, DataError for a sample without a rubric, and RubricdClientError where waiting for the judge is of no use.
    """
    if when_missing not in ("raise", "lower_bound"):
        raise ValueError(f"when_missing is `raise` or `lower_bound`, not {when_missing!r}")
    chosen = cast(ScoreOptions, _lists(options or {}))
    check_options(chosen)
    answers = PolicyAnswers(reasoning)
    asked = zip(solution_strs, extra_infos, strict=True)
    items = [
        _item(answers.split(solution).answer, info, place, chosen.get("pitfalls"))
        for place, (solution, info) in enumerate(asked)
    ]
    judging = JudgeConfig(
        url,
        os.environ.get(token_env) or None,
        chosen,
        judge_timeout_s,
        concurrency,
        timeout_s,
        ledger=None if ledger is None else Path(ledger),
    )
    judge = _judge(judging)
    outcomes = judge.loop.run(partial(judge.client.score, items))
    rewards = [_reward(outcome, when_missing) for outcome in outcomes]
    missing = [one for one, reward in zip(outcomes, rewards, strict=True) if reward is None]
    if missing:
        raise NotJudged(_about(missing, len(outcomes)))
    return [reward for reward in rewards if reward is not None]


def _about(missing: Sequence[Outcome], of: int) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in Counter(map(why_missing, missing)).most_common())
    remedy = "bring the judge back, and resume from the last checkpoint"
    if not any(map(may_change, missing)):
        remedy = "another attempt would not help: leave such rows out, or see what these statuses mean"
    return f"{len(missing)} of {of} responses have no reward ({counts}), so that the batch has none; {remedy}"


class _Judge:
    """A client and the loop that it works in: who calls has no loop that runs, or one that must not wait."""

    def __init__(self, judging: JudgeConfig) -> None:
        self.client = RewardClient(judging)
        self.loop = BackgroundLoop("judge", self.client)


_judges: dict[str, _Judge] = {}
"""One for each way of judging in this process, so that its connections are kept from batch to batch."""


def _judge(judging: JudgeConfig) -> _Judge:
    key = repr(judging)
    if key not in _judges:
        _judges[key] = _Judge(judging)
    return _judges[key]


def _item(answer: str, info: Mapping[str, Any] | None, place: int, pitfalls: wire.Pitfalls | None) -> wire.Item:
    info = info or {}
    if "row" in info:
        return prompt_row(info).item(answer).model_copy(update={"id": str(place)})
    try:
        item = for_training({"extra_info": _lists(dict(info))}, Law(pitfalls=pitfalls)).item
    except RowError as error:
        raise DataError(f"sample {place} of the batch: {error}") from None
    return item.model_copy(update={"id": str(place), "response": answer})


def _lists(value: Any) -> Any:
    """Nested values as lists and numbers: tables that pandas has read hold arrays."""
    if isinstance(value, Mapping):
        return {name: _lists(one) for name, one in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [_lists(one) for one in value] if isinstance(value, list | tuple) else value


def _reward(outcome: Outcome, when_missing: WhenMissing) -> dict[str, float] | None:
    if not isinstance(outcome, Scored):
        return None
    result, score = outcome.result, reward_of(outcome)
    if score is None and when_missing == "lower_bound" and result.status == "partial" and result.score_bounds:
        score = result.score_bounds[0]
    if score is None:
        return None
    return {"score": score, "judged": float(result.status == "ok"), "coverage": result.coverage}
