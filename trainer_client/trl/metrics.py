"""Logs judged rollouts through TRL's channels: metrics, and columns of the completions table.

Guarantees: a rollout that was not judged counts in `judge/none_share` and in no mean of rewards.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_client import wire
from trainer_client.client import ClientUsage, Outcome, Scored, reward
from trainer_client.live_rubrics.evolution import TAG
from trainer_client.live_rubrics.step_rubric import StepRubric
from trainer_client.reward_client import why_missing
from trainer_client.trl.prompt_row import Prompt, row_of

DEFAULT = "judge"
"""The name of a judge beside which there is no other."""
_NAMES = 64
Log = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Judged:
    """One completion's outcome, the seconds between sending its request and having it, and what of it was judged."""

    outcome: Outcome
    took_s: float
    split: wire.Split
    rubric: StepRubric | None = None
    """The rubric of its row at this step; None where that is the row's own."""
    by_full_rubric: Outcome | None = None
    """The outcome by all criteria, where some are left out of the reward."""

    @property
    def audited(self) -> Outcome:
        """The outcome with the most verdicts."""
        return self.by_full_rubric if isinstance(self.by_full_rubric, Scored) else self.outcome


def name_of(judge: str, what: str) -> str:
    """The name under which a judge logs: as it is for the default one; otherwise below the judge's own name, in place
    of `judge/`."""
    return what if judge == DEFAULT else f"{judge}/{what.removeprefix(f'{DEFAULT}/')}"


class RewardMetrics:
    """Logs single values of the judge with this name; TRL logs their mean over all processes. At most 64 criteria have
    a metric of their own."""

    def __init__(self, judge: str = DEFAULT) -> None:
        self._judge = judge
        self._names: dict[str, None] = {}

    def log(
        self,
        log: Log,
        judged: Sequence[Judged],
        rewards: Sequence[float | None],
        revealed: Sequence[float],
        waited_s: float,
        prompts: Sequence[Prompt],
    ) -> None:
        log = self._named_after_judge(log)
        log("judge/latency_s", max(one.took_s for one in judged))
        log("judge/waited_s", waited_s)
        for one, value, share, prompt in zip(judged, rewards, revealed, prompts, strict=True):
            log("judge/none_share", float(value is None))
            log("answer/empty", float(not one.split.answer.strip()))
            log("answer/reasoning_unfinished", float(one.split.ended == "unfinished"))
            log("scaffold/revealed_share", share)
            if value is not None:
                log("reward/scaffolded" if share > 0 else "reward/bare", value)
            told = one.audited
            if isinstance(told, Scored):
                self._measure_criteria(log, told.result, row_of(prompt))

    def log_rubric(
        self, log: Log, judged: Sequence[Judged], cut: Sequence[bool], charged: Callable[[float, bool], float]
    ) -> None:
        """What of the rubric is left out and what has evolved, and the reward that the full rubric would give."""
        log = self._named_after_judge(log)
        for one, ended_early in zip(judged, cut, strict=True):
            if one.rubric is None:
                continue
            log("rubric/dropped_share", one.rubric.dropped_share)
            log("rubric/evolved", float(len(one.rubric.evolved)))
            log("rubric/evolved_points_share", one.rubric.evolved_points_share)
            score = reward(one.by_full_rubric or one.outcome)
            if score is not None:
                log("reward/full_rubric", charged(score, ended_early))

    def log_usage(self, log: Log, used: ClientUsage) -> None:
        """What judging cost this process since the last batch."""
        log = self._named_after_judge(log)
        for name, number in used.items():
            log(f"judge/usage/{name}", float(number))

    def _named_after_judge(self, log: Log) -> Log:
        return lambda what, value: log(name_of(self._judge, what), value)

    def _measure_criteria(self, log: Log, result: wire.Result, row: dict[str, Any]) -> None:
        log("judge/coverage", result.coverage)
        log("judge/partial", float(result.status == "partial"))
        log("judge/judgements", float(sum(one.source == "judge" for one in result.criteria)))
        criteria = {str(n): one for n, one in enumerate(row["rubric"] or [])}
        criteria |= {one["id"]: one for one in criteria.values() if one.get("id")}
        for criterion in result.criteria:
            log("judge/abstained", float(criterion.status == "abstained"))
            log("judge/cached_share", float(criterion.source == "cache"))
            if criterion.p is not None:
                log("judge/p_met", criterion.p)
            if criterion.met is not None:
                log("judge/met_share", float(criterion.met))
                for name in self._named(criteria.get(criterion.id, {})):
                    log(f"criteria/{name}", float(criterion.met))

    def _named(self, criterion: Mapping[str, Any]) -> list[str]:
        """Names of a criterion's metrics: its own id, and its tags; `other` once there are 64 names."""
        tags = criterion.get("tags", {})
        # Of those that come and go there are too many for a name each.
        names = [criterion["id"]] if criterion.get("id") and TAG not in tags else []
        names += [f"{key}:{value}" for key, value in tags.items()]
        for name in names:
            if len(self._names) < _NAMES:
                self._names.setdefault(name)
        return [name if name in self._names else "other" for name in names]


def log_columns(
    log_extra: Callable[[str, list[Any]], None],
    judged: Sequence[Judged],
    rewards: Sequence[float | None],
    columns: Mapping[str, Any],
    prompts: Sequence[Prompt],
    judge: str = DEFAULT,
) -> None:
    """Logs columns of the completions table, one value a completion. TRL appends to a column that it has already, so
    that two judges need names of their own."""

    def log(what: str, values: list[Any]) -> None:
        log_extra(name_of(judge, what), values)

    log("row", [row_of(prompt)["id"] for prompt in prompts])
    for name in ("member", "revealed_share", "revealed", "cut"):
        if name in columns:
            log(name, list(columns[name]))
    log("answer", [one.split.answer for one in judged])
    log("score", [reward(one.outcome) for one in judged])
    log("reward", list(rewards))
    log("status", [why_missing(one.outcome) for one in judged])
    log("criteria", [_met(one.audited) for one in judged])
    log("verdicts", [_verdicts(one.audited) for one in judged])
    log("judge", [one.outcome.judge.fingerprint if isinstance(one.outcome, Scored) else None for one in judged])
    log("attempts", [_attempts(one.outcome) for one in judged])
    if any(one.rubric is not None for one in judged):
        log("dropped", [json.dumps([] if one.rubric is None else one.rubric.dropped) for one in judged])
        log("full_score", [reward(one.by_full_rubric or one.outcome) for one in judged])
        log("evolved", [json.dumps(_evolved(one.rubric), ensure_ascii=False) for one in judged])


def _met(outcome: Outcome) -> str:
    """{"criterion id": true, false or null} as JSON."""
    criteria = outcome.result.criteria if isinstance(outcome, Scored) else ()
    return json.dumps({criterion.id: criterion.met for criterion in criteria}, ensure_ascii=False)


def _verdicts(outcome: Outcome) -> str:
    """All that the service said of each criterion, in the rubric's order, as JSON."""
    criteria = outcome.result.criteria if isinstance(outcome, Scored) else ()
    return json.dumps([criterion.model_dump(mode="json") for criterion in criteria], ensure_ascii=False)


def _evolved(rubric: StepRubric | None) -> list[dict[str, Any]]:
    """Each evolved criterion as it was judged."""
    found = [] if rubric is None else rubric.evolved
    return [one.model_dump(mode="json", include={"id", "text", "points", "tags"}) for one in found]


def _attempts(outcome: Outcome) -> int:
    return outcome.attempts if isinstance(outcome, Scored) else outcome.error.attempts
