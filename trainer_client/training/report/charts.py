"""Defines the charts of a run's report, and reads their values from the run's log.

Guarantees: a step without a value is None and not a number.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainer_client.pages.charts import Line, Points, figure
from trainer_client.pages.document import section

Logs = Sequence[Mapping[str, Any]]
BY_WHOLE_RUBRIC = "Reward by the whole rubric"
"""Of a run whose rubrics change."""


class Chart(NamedTuple):
    """`series` are the colour, the name and the metric of each line; the axis covers at least `low` to `high`."""

    heading: str
    about: str
    series: tuple[tuple[str, str, str], ...]
    low: float | None
    high: float | None


CHARTS: tuple[Chart, ...] = (
    Chart(
        "Reward",
        "Mean of the rollouts that were judged.",
        (
            ("one", "bare prompt", "reward/bare"),
            ("two", "scaffolded prompt", "reward/scaffolded"),
            ("three", "held-out rows, bare prompt", "eval_reward"),
        ),
        0.0,
        None,
    ),
    Chart(
        "By the examiner",
        "Mean score of the held-out rows, from the bare prompt, by a second judge who gives no rewards.",
        (("three", "held-out rows, bare prompt", "eval_examiner/reward/bare"),),
        0.0,
        None,
    ),
    Chart(
        "Rubric revealed",
        "Share of its rubric that a rollout saw, mean.",
        (("two", "revealed share", "scaffold/revealed_share"),),
        0.0,
        1.0,
    ),
    Chart(
        BY_WHOLE_RUBRIC,
        "Mean score by what counts of each rubric, and the reward that all of its criteria would have given.",
        (("one", "what counts", "rewards/judge/mean"), ("two", "the whole rubric", "reward/full_rubric")),
        0.0,
        None,
    ),
    Chart(
        "Rubrics that change",
        "Share of the criteria left out; share of the points that evolved criteria hold; groups without a proposal.",
        (
            ("one", "left out", "rubric/dropped_share"),
            ("two", "evolved points", "rubric/evolved_points_share"),
            ("three", "no proposal", "evolving/failed_share"),
        ),
        0.0,
        1.0,
    ),
    Chart(
        "Verdicts",
        "Share of the criteria that are met, and the judge's mean probability.",
        (("one", "met", "judge/met_share"), ("two", "P(met)", "judge/p_met")),
        0.0,
        1.0,
    ),
    Chart(
        "Not judged",
        "Rollouts without a reward, and criteria on which the judge abstained; neither counts as not met.",
        (("two", "rollouts", "judge/none_share"), ("one", "criteria", "judge/abstained")),
        0.0,
        0.1,
    ),
    Chart(
        "Seconds with the judge",
        "For a batch of rollouts, and the part of it that the trainer waited.",
        (("one", "request to answer", "judge/latency_s"), ("two", "waited", "judge/waited_s")),
        0.0,
        None,
    ),
    Chart(
        "Tokens of the judge",
        "For a batch of rollouts of one process: of the prompts, those of them that were computed before, and written.",
        (
            ("one", "prompts", "judge/usage/prompt_tokens"),
            ("two", "computed before", "judge/usage/cached_tokens"),
            ("three", "written", "judge/usage/completion_tokens"),
        ),
        0.0,
        None,
    ),
    Chart(
        "Spread of the reward",
        "Standard deviation of the rewards of a group, mean. Without it there is nothing to learn.",
        (("one", "standard deviation", "reward_std"),),
        0.0,
        None,
    ),
    Chart(
        "Groups without a difference",
        "Share of the groups whose rewards are all equal: they have no advantage and teach nothing.",
        (("two", "equal rewards", "frac_reward_zero_std"),),
        0.0,
        1.0,
    ),
    Chart("Distance from the start", "KL divergence from the first policy.", (("one", "KL", "kl"),), 0.0, None),
    Chart(
        "Size of the gradient",
        "Norm of the gradient before it is clipped, mean of the updates.",
        (("one", "norm", "grad_norm"),),
        0.0,
        None,
    ),
    Chart(
        "Updates that were cut",
        "Share of the updates whose gradient was clipped, and of the tokens whose KL is beyond the bound of 10.",
        (("one", "clipped", "grad_norm/clipped_share"), ("two", "tokens beyond the KL's bound", "kl/beyond_share")),
        0.0,
        1.0,
    ),
    Chart(
        "Answers cut off",
        "Share of the answers that reached the greatest length before they ended.",
        (("two", "cut off", "completions/clipped_ratio"), ("three", "held-out rows", "eval_completions/clipped_ratio")),
        0.0,
        1.0,
    ),
    Chart(
        "Length of answers",
        "Tokens, mean of a batch.",
        (("one", "tokens", "completions/mean_length"),),
        0.0,
        None,
    ),
    Chart("Entropy", "Entropy of the policy's next token, mean.", (("one", "entropy", "entropy"),), 0.0, None),
)


def read_logs(path: Path, updates: int) -> Logs:
    """The lines, with `step` in batches of rollouts, each of which has so many updates."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    logs = [json.loads(line) for line in lines if line.endswith("}")]  # the last one may be cut off
    return [{**log, "step": log["step"] / updates} for log in logs]


def points(logs: Logs, metric: str) -> Points:
    """Step and value at each log of the metric's kind, training or evaluation; None where it has none."""
    kind = "eval_reward" if metric.startswith("eval_") else "reward"
    return [(log["step"], log.get(metric)) for log in logs if kind in log]


def has(logs: Logs, metric: str) -> bool:
    return any(log.get(metric) is not None for log in logs)


def last_tenth(logs: Logs, metric: str) -> float | None:
    """The mean of the last tenth of the values, at least one of them; None without any."""
    values = [value for _, value in points(logs, metric) if value is not None]
    tail = values[-max(len(values) // 10, 1) :]
    return sum(tail) / len(tail) if tail else None


def drawn(logs: Logs, chart: Chart) -> str:
    """The card of a chart; empty where the run logged none of its metrics."""
    lines = [Line(name, colour, points(logs, metric)) for colour, name, metric in chart.series if has(logs, metric)]
    if not lines:
        return ""
    inner = figure(chart.heading, lines, low=chart.low, high=chart.high)
    return section(chart.heading, chart.about, inner, wide=False)
