"""Raises alarms about a run's rewards, each with its evidence and what to do about it.

Every alarm is a test by betting (`evidence`) that a bounded mean is beyond a limit. Of the declared chance of a false
alarm each kind has the same part, and within a kind the k-th criterion of the log has 1 / (k (k + 1)) of that: by the
union bound the chance that an honest run ever raises any alarm is at most what is declared, however often and for how
long it is watched.

A criterion with levels is always met where every answer earns all of its points, and never where none earns a part. One
whose points the log does not say raises no alarm of its own: it may be wanted or a fault.

Guarantees: an alarm that was raised stays raised when the log grows. The values of a test are means of groups, because
rollouts of one prompt are not independent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import Literal, get_args

import numpy as np

from trainer_client.watch import criteria, groups, shadow
from trainer_client.watch.evidence import Evidence, Floats, Ints, against, at_best, shares
from trainer_client.watch.observed import Named, Table, sums
from trainer_client.watch.shadow import Sample

Kind = Literal["shortcut", "overclaimed", "no_spread", "identical", "length", "always_met", "never_met", "against_rest"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Action = Literal["drop", "reword", "gate", "dropout", "sample"]
_ONE_CARRIES = 0.5
_ONE_CARRIES_IT = (
    "one criterion carries most of what the reference judge rejects: reword it or take it out, and go back to the "
    "checkpoint before"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is still honest. `shortcut` is a growth of the gap; the others are shares of groups, pairs or verdicts."""

    shortcut: float = 0.05
    overclaimed: float = 0.3
    no_spread: float = 0.8
    identical: float = 0.5
    length: float = 0.8
    always_met: float = 0.9
    never_met: float = 0.9
    against_rest: float = 0.5


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Alarm:
    """`step` is that at which the evidence was enough, `began` an estimate of the one at which it began, `value` the
    mean of the values that were tested from then on; `evidence` and `needed` are logs of the capital."""

    kind: Kind
    step: int
    began: int
    value: float
    limit: float
    evidence: float
    needed: float
    action: Action
    advice: str
    criterion: Named | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """The chance that an honest run raises any alarm, and the limits."""

    chance: float = 0.01
    limits: Limits = field(default_factory=Limits)

    def of(self, kind: Kind) -> float:
        return self.chance / len(KINDS)


DECLARED = Declared()
_ADVICE: dict[Kind, tuple[Action, str]] = {
    "shortcut": (
        "dropout",
        "the judge credits more and more that the reference judge rejects: go back to the checkpoint before, and train "
        "with rubric dropout or with the reference judge",
    ),
    "overclaimed": (
        "reword",
        "the judge credits what every reference judge rejects: say in the text what must be there",
    ),
    "no_spread": (
        "drop",
        "most groups teach nothing: take out criteria that all answers meet, or rows that are too easy",
    ),
    "identical": (
        "sample",
        "the answers of a group are the same text: raise the temperature, or lower the learning rate",
    ),
    "length": ("gate", "the longer answer nearly always has the higher reward: gate the reward by a rule on length"),
    "always_met": ("drop", "every answer earns it, so it teaches nothing: take it out, or set its points to 0"),
    "never_met": ("reword", "no answer earns it, so it teaches nothing: ask for less, or split it into parts"),
    "against_rest": (
        "reword",
        "answers that earn it do worse by the rest of the rubric: look whether it says what is meant",
    ),
}


def alarms(table: Table, sample: Sample | None, declared: Declared) -> list[Alarm]:
    """All alarms, the first one first."""
    found = [*_of_run(table, declared), *_of_criteria(table, declared)]
    if sample is not None:
        found += [*_shortcut(sample, declared), *_overclaimed(sample, declared)]
    return sorted(found, key=lambda one: (one.step, KINDS.index(one.kind)))


def _of_run(table: Table, declared: Declared) -> Iterator[Alarm]:
    steps = groups.first_of_groups(table)
    tested: Sequence[tuple[Kind, Floats, float]] = (
        ("no_spread", groups.without_spread(table), declared.limits.no_spread),
        ("identical", groups.identical(table), declared.limits.identical),
        ("length", groups.longer_wins(table), declared.limits.length),
    )
    for kind, values, limit in tested:
        there = np.isfinite(values)
        yield from _tested(kind, values[there], steps[there], limit, declared.of(kind))


def _of_criteria(table: Table, declared: Declared) -> Iterator[Alarm]:
    spread, steps, rest = criteria.spread_of_groups(table), groups.first_of_groups(table), criteria.rest_of(table)
    limits, value, group = declared.limits, table.value, table.group[table.rollout]
    count = len(table.criteria)
    seen, verdicts = groups.rows_of(spread.criterion, count), groups.rows_of(table.criterion, count)
    for number, share in enumerate(shares(count)):
        named, own = table.criteria[number], seen[number]
        # Whether it teaches nothing, and what to do, depends on whether it is wanted or a fault.
        if not named.has_sign or not _may(own.shape[0], limits, declared, share):
            continue
        at, met = steps[spread.group[own]], spread.share[own]
        # A fault that nobody has is a guard, and no criterion that teaches nothing.
        if not named.is_fault:
            always = (met == 1).astype(np.float64)
            yield from _tested("always_met", always, at, limits.always_met, declared.of("always_met") * share, named)
        never = (met == (1 if named.is_fault else 0)).astype(np.float64)
        yield from _tested("never_met", never, at, limits.never_met, declared.of("never_met") * share, named)
        rows = verdicts[number]
        values, names = criteria.disagreement_with_rest(value[rows], rest[rows], group[rows])
        chance = declared.of("against_rest") * share
        yield from _tested("against_rest", values, steps[names], limits.against_rest, chance, named)


def _may(seen_in: int, limits: Limits, declared: Declared, share: float) -> bool:
    """Whether so many groups can raise an alarm at all: most criteria of one prompt cannot, and need no test."""
    needed = -log(declared.chance / len(KINDS) * share)
    lowest = min(limits.against_rest, limits.always_met, limits.never_met)
    return at_best(seen_in, lowest) >= needed


def _shortcut(sample: Sample, declared: Declared) -> Iterator[Alarm]:
    """The earlier of two alarms: that the overclaim has grown, or the gap. Each has half of the chance."""
    chance, margin = declared.of("shortcut") / 2, declared.limits.shortcut
    found: list[Alarm] = []
    for values in (shadow.overclaim(sample), (shadow.gaps(sample) + 1) / 2):
        means, steps = shadow.by_group(values, sample.group, sample.step)
        grown = shadow.onset(means, steps, margin=margin, chance=chance)
        if grown.evidence is not None and grown.limit is not None:
            found += _raised("shortcut", grown.evidence, means, steps, grown.limit, chance / 2)
    for alarm in sorted(found, key=lambda one: one.step)[:1]:
        one = _carrier(sample, alarm.step)
        yield alarm if one is None else replace(alarm, criterion=one, action="reword", advice=_ONE_CARRIES_IT)


def _carrier(sample: Sample, step: int) -> Named | None:
    """The criterion that has most of the overclaimed points from this step on, if one has."""
    late = sample.step[sample.rollout] >= step
    over = np.maximum(sample.credit - sample.others, 0) * sample.weight * late
    by = sums(sample.criterion, over, len(sample.criteria))
    most = float(by.max(initial=0.0))
    return sample.criteria[int(by.argmax())] if most > _ONE_CARRIES * float(by.sum()) else None


def _overclaimed(sample: Sample, declared: Declared) -> Iterator[Alarm]:
    credited = sample.credit == 1
    for number, share in enumerate(shares(len(sample.criteria))):
        own = np.flatnonzero(credited & (sample.criterion == number))
        chance = declared.of("overclaimed") * share
        if at_best(own.shape[0], declared.limits.overclaimed) < -log(chance):
            continue
        rollout = sample.rollout[own]
        values, steps = shadow.by_group(sample.rejected[own], sample.group[rollout], sample.step[rollout])
        yield from _tested("overclaimed", values, steps, declared.limits.overclaimed, chance, sample.criteria[number])


def _tested(
    kind: Kind, values: Floats, steps: Ints, limit: float, chance: float, criterion: Named | None = None
) -> Iterator[Alarm]:
    if at_best(values.shape[0], limit) >= -log(chance):
        yield from _raised(kind, against(values, steps, limit), values, steps, limit, chance, criterion)


def _raised(
    kind: Kind,
    evidence: Evidence,
    values: Floats,
    steps: Ints,
    limit: float,
    chance: float,
    criterion: Named | None = None,
) -> Iterator[Alarm]:
    step = evidence.onset(chance)
    if step is None:
        return
    action, advice = _ADVICE[kind]
    began = evidence.began(step)
    value = float(values[steps >= began].mean())
    yield Alarm(kind, step, began, value, limit, evidence.largest, -log(chance), action, advice, criterion)
