"""Computes how often a judge prefers the better response: accuracies with intervals, and differences in pairs.

A pair is right where the better response has the larger number, wrong where it has the smaller one, and a tie where
both are equal; accuracy counts a tie as one half, and the ties are counted apart.

Guarantees: a pair without an answer to either of its questions is in no accuracy, and is counted by its status. A
difference is over the pairs that both sides judged. Intervals draw whole prompts, at 95 %.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import Bounded, Figure, Statistic, figures, numbered
from trainer_client.alignment.answers import Answer, Cost, Store
from trainer_client.alignment.arms import Arm
from trainer_client.alignment.asking import Judge, key_of, sent_for
from trainer_client.preferences.pairs import PreferencePair

_SAME = 1e-9
"""Numbers that differ by less are equal: they are sums of floats in another order."""


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm of one judge. `outcomes` has for each pair 1 (right), 0.5 (a tie), 0 (wrong), or None. `order_effect` and
    `disagreeing` are there where pairs are compared. `why_not` is why the judge does not serve the mode."""

    arm: Arm
    outcomes: tuple[float | None, ...]
    accuracy: Figure
    right: int
    wrong: int
    ties: int
    not_judged: Mapping[str, int]
    by_kind: Mapping[str, Figure]
    trust: str | None
    order_effect: Figure | None = None
    disagreeing: Figure | None = None
    why_not: str | None = None


@dataclass(frozen=True, slots=True)
class JudgeResult:
    name: str
    judge: Mapping[str, Any]
    arms: tuple[ArmResult, ...]
    costs: Mapping[str, Cost]


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more often `one` is right than `other`: arms of one judge, or judges in one arm, as `among` says."""

    among: str
    one: str
    other: str
    more: Figure


def arm_result(judge: Judge, arm: Arm, pairs: Sequence[PreferencePair], store: Store) -> ArmResult:
    answered = [_answers(judge, arm, pair, store) for pair in pairs]
    outcomes = tuple(_outcome(arm, answers) for answers in answered)
    fitting = [place for place, pair in enumerate(pairs) if arm.ask.fits(pair)]
    kinds = dict.fromkeys(pairs[place].kind for place in fitting)
    order_effect = disagreeing = None
    if arm.ask.mode == "compare":
        effects = [one[0].order_effect if one else None for one in answered]
        order_effect = mean(pairs, effects, least=-1.0)
        disagrees = [one[0].disagrees if one else None for one in answered]
        disagreeing = mean(pairs, [None if one is None else float(one) for one in disagrees])
    return ArmResult(
        arm=arm,
        outcomes=outcomes,
        accuracy=mean(pairs, outcomes),
        right=sum(one == 1.0 for one in outcomes),
        wrong=sum(one == 0.0 for one in outcomes),
        ties=sum(one == 0.5 for one in outcomes),
        not_judged=Counter(_why(answered[place]) for place in fitting if outcomes[place] is None),
        by_kind={
            kind: mean(pairs, [one if pair.kind == kind else None for one, pair in zip(outcomes, pairs, strict=True)])
            for kind in kinds
        },
        trust=judge.trust(arm.ask),
        order_effect=order_effect,
        disagreeing=disagreeing,
        why_not=judge.why_not(arm.ask) if judge.fingerprint(arm.ask) is None else None,
    )


def _answers(judge: Judge, arm: Arm, pair: PreferencePair, store: Store) -> list[Answer]:
    """The answers to the pair's questions; none where one is missing, or the arm does not fit the pair."""
    by = judge.fingerprint(arm.ask)
    if by is None or not arm.ask.fits(pair):
        return []
    found = [store.answer(by, key_of(arm.ask, sent)) for sent in sent_for(arm.ask, pair)]
    return [one for one in found if one is not None] if None not in found else []


def _outcome(arm: Arm, answers: Sequence[Answer]) -> float | None:
    numbers = [getattr(one, arm.reads) for one in answers]
    if not numbers or None in numbers:
        return None
    better, worse = (numbers[0], 0.5) if arm.reads == "p" else numbers
    if abs(better - worse) <= _SAME:
        return 0.5
    return float(better > worse)


def _why(answers: Sequence[Answer]) -> str:
    return next((one.status for one in answers if one.status != "ok"), "no answer")


def mean(pairs: Sequence[PreferencePair], values: Sequence[float | None], *, least: float | None = 0.0) -> Figure:
    """The mean of the values that are there, with an interval over prompts. They lie between `least` and 1; with None
    they have no bounds."""
    there = [(value, pair.group) for value, pair in zip(values, pairs, strict=True) if value is not None]
    numbers = np.array([value for value, _ in there], dtype=np.float64)
    groups = numbered([group for _, group in there])
    own: Statistic = partial(statistics.mean, numbers)
    return figures({"mean": own if least is None else Bounded(own, least=least)}, groups)["mean"]


def differences(judges: Sequence[JudgeResult], pairs: Sequence[PreferencePair]) -> Iterator[Difference]:
    """Each arm against those that lack one thing of it, for each judge; then each arm of judge against judge."""
    for judge in judges:
        by_name = {one.arm.name: one for one in judge.arms}
        for one in judge.arms:
            for name in one.arm.without:
                if name in by_name:
                    yield _difference(judge.name, one.arm.name, name, one, by_name[name], pairs)
    for place, judge in enumerate(judges):
        for other in judges[:place]:
            for one, its in zip(judge.arms, other.arms, strict=True):
                yield _difference(one.arm.name, judge.name, other.name, one, its, pairs)


def _difference(
    among: str, one_name: str, other_name: str, one: ArmResult, other: ArmResult, pairs: Sequence[PreferencePair]
) -> Difference:
    both = zip(one.outcomes, other.outcomes, strict=True)
    less = [None if mine is None or theirs is None else mine - theirs for mine, theirs in both]
    return Difference(among, one_name, other_name, mean(pairs, less, least=-1.0))
