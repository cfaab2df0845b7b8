"""Calculates what a planned training will take: optimiser steps, rollouts, judgements, and the judge's GPU hours.

Guarantees: nothing is measured and no model is loaded; the text says so. Hours are the formula of `rubricd size`, and
are left out for a judge whose shape it does not know.
"""

import re
from collections.abc import Mapping

from trainer_client.sizing.hardware import GPUS, JUDGES, SizingError
from trainer_client.sizing.model import Work, size
from trainer_client.training.preflight import Plan

_GPU, _RESPONSE, _CRITERION, _INSTRUCTIONS, _WRITTEN = "H100", 600, 40, 100, 150
"""What `rubricd size` assumes where nothing is said."""


def lines(plan: Plan, prompt_tokens: Mapping[str, int], answer_tokens: int) -> list[str]:
    """The estimate as lines for a person. `prompt_tokens` are by row."""
    run = plan.run
    rollouts = plan.steps * run.prompts_per_batch * run.group
    updates = plan.steps * run.updates
    lengths = [prompt_tokens[row.id] for row in plan.order]
    mean = sum(lengths) / len(lengths)
    tokens = rollouts * (mean + answer_tokens)
    judged = judgements(plan)
    evolved = f", and at most {rollouts * run.most_evolved:,} more of evolved criteria" if run.most_evolved else ""
    return [
        f"{updates:,} optimiser steps, {rollouts:,} rollouts; a prompt has {mean:,.0f} tokens on average and "
        f"{max(lengths):,} at most, an answer at most {answer_tokens:,}: at most "
        f"{f'{tokens / 1e6:,.1f} million' if tokens >= 1e6 else f'{tokens:,.0f}'} tokens of the policy",
        f"{judged:,} judgements by {plan.judge['model']}{evolved}{_hours(plan, mean, answer_tokens, judged)}",
    ]


def judgements(plan: Plan) -> int:
    """The judge's verdicts or ratings of the whole training, without evaluations."""
    run = plan.run
    a_batch = sum(_criteria(plan, len(row.rubric.counted()) if row.rubric else 1) for row in plan.order)
    return a_batch * run.group * (run.judging.votes if run.judging.mode == "reasoned" else 1)


def _criteria(plan: Plan, counted: int) -> int:
    if plan.run.judging.mode in ("verdict", "reasoned"):
        return counted
    return 1 if plan.run.rubric_dropout is None else 2  # a rating by a part of the rubric is another rating


def _hours(plan: Plan, prompt: float, answer: int, judged: int) -> str:
    found = re.findall(r"(\d+(?:\.\d+)?)B\b", str(plan.judge["model"]), re.IGNORECASE)
    judge = JUDGES.get(f"{found[0]}B") if found else None
    if judge is None:
        return "; for its hours give its config.json to `rubricd size --judge`"
    rows = len(plan.order) * plan.run.group
    work = Work(
        instructions=_INSTRUCTIONS,
        conversation=max(round(prompt), 1),
        response=min(_RESPONSE, answer),
        criterion=_CRITERION,
        criteria=max(round(judged / rows), 1),
        group=plan.run.group,
        written=_WRITTEN if plan.run.judging.mode == "reasoned" else 0,
    )
    try:
        each = size(judge, GPUS[_GPU], work, dtype="bf16", responses=rows // plan.steps, seconds=30.0)
    except SizingError as error:
        return f"; its hours cannot be calculated: {error}"
    hours = judged / each.verdicts_per_s / 3600
    return (
        f", about {hours:,.1f} hours on one {_GPU} if an answer has {work.response} tokens (calculated as `rubricd "
        "size` does, not measured); generation and updates come on top"
    )
