"""Puts together what is known about a run's rewards: figures, their course over the steps, findings and alarms.

Guarantees: a figure without a value is null in the JSON, and no number. The JSON holds criteria's texts, and no text of
a prompt or an answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp
from typing import Any

import numpy as np

from trainer_client.agreement.bootstrap import Bounded, Figure, Statistic, figures
from trainer_client.agreement.statistics import mean
from trainer_client.watch import criteria, groups, shadow
from trainer_client.watch.alarms import DECLARED, KINDS, Alarm, Declared, alarms
from trainer_client.watch.criteria import Figures
from trainer_client.watch.internalisation import Trend
from trainer_client.watch.observed import Floats, Ints, Named, Table, counts, ratio, sums
from trainer_client.watch.probes import Finding
from trainer_client.watch.shadow import Exploitation, Sample

Course = Sequence[tuple[int, float | None]]
"""A figure's value at each step."""
_RESAMPLES = 500
_LEAST = {"no_spread": 0.0, "identical": 0.0, "longer_wins": 0.0, "gap": -1.0, "overclaim": 0.0}
"""The least value of what is a share or a difference of shares; a reward has no bounds."""


@dataclass(frozen=True, slots=True)
class Health:
    """`run` are figures of the whole log with intervals over groups, `course` their values at each step."""

    table: Table
    sample: Sample | None
    run: Mapping[str, Figure]
    course: Mapping[str, Course]
    criteria: Figures
    alarms: Sequence[Alarm]
    findings: Sequence[Finding]
    exploitation: Exploitation | None
    declared: Declared
    trend: Trend | None = None

    @property
    def count(self) -> int:
        """How many things there are to look at."""
        return len(self.alarms) + len(self.findings) + (self.trend is not None and self.trend.fallen is not None)

    @property
    def is_judged(self) -> bool:
        """Whether any rollout has a reward: without one no alarm could be raised."""
        return bool(np.isfinite(self.table.reward).any())

    @property
    def is_well(self) -> bool:
        """Something was judged: no alarm, no finding, and the policy did not turn back from its rubrics."""
        return self.count == 0 and self.is_judged


def health(
    table: Table,
    sample: Sample | None = None,
    findings: Sequence[Finding] = (),
    trend: Trend | None = None,
    declared: Declared = DECLARED,
) -> Health:
    steps = groups.first_of_groups(table)
    own = {
        "reward": _of_groups(table.reward, table),
        "no_spread": groups.without_spread(table),
        "identical": groups.identical(table),
        "longer_wins": groups.longer_wins(table),
    }
    run = {name: _figure(values, _LEAST.get(name)) for name, values in own.items()}
    course = {name: _course(values, steps) for name, values in own.items()}
    exploited = None
    if sample is not None and sample.rollout.size:
        for name, values in (("gap", shadow.gaps(sample)), ("overclaim", shadow.overclaim(sample))):
            means, at = shadow.by_group(values, sample.group, sample.step)
            run[name], course[name] = _figure(means, _LEAST[name]), _course(means, at)
        exploited = shadow.exploitation(sample)
        course["exploitation"] = _course(exploited.rate, exploited.step)
    return Health(
        table,
        sample,
        run,
        {name: points for name, points in course.items() if any(value is not None for _, value in points)},
        criteria.figures(table),
        alarms(table, sample, declared),
        findings,
        exploited,
        declared,
        trend,
    )


def as_json(one: Health) -> dict[str, Any]:
    """All figures as JSON."""
    table, found = one.table, one.criteria
    return {
        "rollouts": int(table.step.shape[0]),
        "not_judged": int(np.count_nonzero(~np.isfinite(table.reward))),
        "groups": int(table.group.max(initial=-1)) + 1,
        "steps": int(np.unique(table.step).shape[0]),
        "criteria_without_sign": table.without_sign,
        "well": one.is_well,
        "run": {name: figure.as_json() for name, figure in one.run.items()},
        "course": {name: [[step, value] for step, value in points] for name, points in one.course.items()},
        "criteria": [
            {
                "id": named.id,
                "text": named.text,
                "points": named.points,
                "graded": named.graded,
                "verdicts": int(found.verdicts[place]),
                "groups": int(found.groups[place]),
                **{name: _number(getattr(found, name)[place]) for name in CRITERION_FIGURES},
            }
            for place, named in enumerate(table.criteria)
        ],
        "alarms": [_alarm(alarm) for alarm in one.alarms],
        "findings": [
            {"answer": f.answer, "criterion": _named(f.criterion), "p": f.p, "action": f.action, "advice": f.advice}
            for f in one.findings
        ],
        "shadow": None if one.sample is None else _shadow(one.sample, one.exploitation),
        "internalisation": None if one.trend is None else _trend(one.trend),
        "declared": {
            "chance": one.declared.chance,
            "kinds": list(KINDS),
            "chance_of_a_kind": one.declared.of(KINDS[0]),
        },
    }


CRITERION_FIGURES = ("missing", "pass_rate", "first", "last", "informative", "discrimination", "length")


def pass_rates(table: Table, criterion: int) -> Course:
    """The share of a criterion's verdicts that are met, at each step that has one."""
    own = (table.criterion == criterion) & np.isfinite(table.met)
    return _course(table.met[own], table.step[table.rollout[own]])


def _of_groups(values: Floats, table: Table) -> Floats:
    known = np.isfinite(values)
    size = int(table.group.max(initial=-1)) + 1
    return ratio(sums(table.group[known], values[known], size), counts(table.group[known], size))


def _figure(values: Floats, least: float | None) -> Figure:
    """The mean of groups' values, which lie between `least` and 1; with None they have no bounds."""
    values = values[np.isfinite(values)]
    own: Statistic = partial(mean, values)
    measured: Statistic = own if least is None else Bounded(own, least=least)
    return figures({"mean": measured}, np.arange(values.shape[0]), resamples=_RESAMPLES)["mean"]


def _course(values: Floats, steps: Ints) -> Course:
    names, inverse = np.unique(steps, return_inverse=True)
    known = np.isfinite(values)
    size = names.shape[0]
    means = ratio(sums(inverse[known], values[known], size), counts(inverse[known], size))
    return [(int(step), _number(value)) for step, value in zip(names, means, strict=True)]


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _named(one: Named) -> dict[str, Any]:
    return {"id": one.id, "text": one.text, "points": one.points}


def _alarm(one: Alarm) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "step": one.step,
        "began": one.began,
        "value": one.value,
        "limit": one.limit,
        "log_evidence": one.evidence,
        "log_evidence_needed": one.needed,
        "p_bound": exp(-one.evidence),
        "action": one.action,
        "advice": one.advice,
        "criterion": None if one.criterion is None else _named(one.criterion),
    }


def _shadow(sample: Sample, exploited: Exploitation | None) -> dict[str, Any]:
    found = shadow.overclaims(sample)
    whole = None
    if exploited is not None and exploited.newly.sum() > 0:
        whole = float(exploited.rejected.sum() / exploited.newly.sum())
    return {
        "rollouts": int(sample.step.shape[0]),
        "verdicts": int(sample.rollout.shape[0]),
        "exploitation_rate": whole,
        "overclaimed": [
            {**_named(named), "credited": int(found.credited[place]), "rejected": _number(found.share[place])}
            for place, named in enumerate(sample.criteria)
        ],
    }


def _trend(one: Trend) -> dict[str, Any]:
    return {
        "checkpoints": [{"step": step, **figure.as_json()} for step, figure in zip(one.steps, one.gaps, strict=True)],
        "best": one.best,
        "fallen": one.fallen,
        "p": one.p,
    }
