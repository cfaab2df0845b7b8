"""Says how a run's rewards are, in lines of plain text.

Guarantees: a figure without a value is shown as `no value`, and not as a number.
"""

from collections.abc import Iterator

import numpy as np

from trainer_client.agreement.shown import ends
from trainer_client.watch.alarms import Alarm
from trainer_client.watch.criteria import least_informative
from trainer_client.watch.health import Health
from trainer_client.watch.observed import Named, without_sign
from trainer_client.watch.probes import ANSWERED, Finding

_RUN = {
    "reward": "mean reward",
    "no_spread": "groups whose rewards are all equal",
    "identical": "answers that another one of their group repeats",
    "longer_wins": "pairs in which the longer answer has the higher reward",
    "gap": "points that the judge credits beyond the other judges",
    "overclaim": "credited points that every other judge rejects",
}
_SHOWN = 8
_TEXT = 70


def lines(found: Health) -> Iterator[str]:
    """All that a person should see, the alarms last."""
    table = found.table
    missing = int(np.count_nonzero(~np.isfinite(table.reward)))
    yield (
        f"rubricd: {table.step.shape[0]:,} rollouts in {int(table.group.max(initial=-1)) + 1:,} groups of "
        f"{np.unique(table.step).shape[0]:,} steps, {missing:,} of them not judged; {len(table.criteria):,} criteria"
    )
    for name, about in _RUN.items():
        if name in found.run:
            one = found.run[name]
            value = "no value" if one.value is None else f"{one.value:.3f}{ends(one)}"
            yield f"  {value:26} {about}"
    if found.exploitation is not None and found.exploitation.newly.sum() > 0:
        rate = float(found.exploitation.rejected.sum() / found.exploitation.newly.sum())
        yield f"  {rate:<26.3f} exploitation rate: newly credited points that every other judge rejects"
    if found.trend is not None:
        yield from _trend(found)
    yield from _criteria(found)
    if table.without_sign:
        yield f"rubricd: {without_sign(table)}"
    yield from alarm_lines(found)
    if not found.is_judged:
        yield "rubricd: nothing was judged, so nothing could be watched; `rubricd score` judges a file of responses"
    if found.is_well:
        yield f"rubricd: no alarm; the chance that an honest run raises any is {found.declared.chance:.2%}"


def step_line(found: Health) -> str:
    """The last step's figures, in one line."""
    step = int(found.table.step.max(initial=0))
    last = {name: points[-1] for name, points in found.course.items()}
    shown = [f"{name} {value:.3f}" for name, (at, value) in last.items() if at == step and value is not None]
    return f"step {step}  {'  '.join(shown)}"


def alarm_lines(found: Health) -> Iterator[str]:
    for one in found.alarms:
        yield f"ALARM {_alarm(one)}"
    for answer, about in ANSWERED.items():
        own = [one for one in found.findings if one.answer == answer]
        for finding in own[:_SHOWN]:
            yield _finding(finding, about)
        if len(own) > _SHOWN:
            yield f"FINDING {about} meets {len(own) - _SHOWN:,} more criteria; --json and --page have them"


def _finding(finding: Finding, about: str) -> str:
    p = "" if finding.p is None else f", P(met) {finding.p:.2f}"
    return f"FINDING {about} meets {_named(finding.criterion)}{p} -> {finding.action}: {finding.advice}"


def _alarm(one: Alarm) -> str:
    about = "" if one.criterion is None else f" {_named(one.criterion)}"
    since = f"step {one.step}" if one.began == one.step else f"step {one.step}, begun about step {one.began}"
    return f"{one.kind}{about} ({since}): {one.value:.3f}, limit {one.limit:.3f} -> {one.action}: {one.advice}"


def _named(one: Named) -> str:
    text = one.text or one.id
    return f'"{text if len(text) <= _TEXT else f"{text[: _TEXT - 3]}..."}"'


def _criteria(found: Health) -> Iterator[str]:
    """Criteria that teach least: of those with groups, the ones that are hardly ever informative."""
    own = found.criteria
    order = least_informative(own)
    if not order:
        return
    saturated = sum(own.informative[place] == 0 for place in order)
    yield f"  {saturated:,} of {len(order):,} criteria taught nothing: no group had answers that met them and others"
    yield f"  {'met':>6} {'first':>6} {'last':>6} {'inform.':>8} {'discr.':>7} {'length':>7} {'groups':>7}  criterion"
    for place in order[:_SHOWN]:
        figures = (own.pass_rate, own.first, own.last)
        rates = " ".join(f"{_shown(one[place]):>6}" for one in figures)
        yield (
            f"  {rates} {_shown(own.informative[place]):>8} {_shown(own.discrimination[place]):>7} "
            f"{_shown(own.length[place]):>7} {own.groups[place]:>7}  {_named(found.table.criteria[place])}"
        )


def _trend(found: Health) -> Iterator[str]:
    assert found.trend is not None
    one = found.trend
    values = ", ".join(f"{step}: {gap.value:.3f}" for step, gap in zip(one.steps, one.gaps, strict=True))
    yield f"  self-internalisation gap by step: {values}; greatest at step {one.best}"
    if one.fallen is not None:
        yield f"ALARM internalisation: it has fallen by step {one.fallen} (p {one.p:.2g}) -> stop at step {one.best}"


def _shown(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"
