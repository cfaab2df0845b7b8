"""Compares a judge's answers with what is known: can it be trusted, and how well is its P(met) calibrated? Pure.

Guarantees: a question without an answer proves nothing, and is no wrong answer in a figure of calibration. The interval
is exact (Clopper and Pearson), at 95 %.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from service.scoring.exam.questions import Pair, Question, pairs_of

Trust = Literal["proven", "unproven", "failed"]

PROVEN_FROM = 2 / 3
"""The whole interval of a proven judge's share of right pairs lies above this. Chance is 1/2."""

_LEAST_ANSWERED = 0.5
_BINS = 10
_LEAST_P = 1e-6


@dataclass(frozen=True, slots=True)
class Grade:
    """The result of an exam. A pair is `right` where the question that is met has the larger P(met) or rating.
    `met_when_empty` is the share of questions about something in an empty response that were answered with met; None
    where none was answered. `reason` says in a sentence what keeps the judge from being proven."""

    trust: Trust
    reason: str | None
    questions: int
    answered: int
    pairs: int
    right: int
    interval: tuple[float, float]
    auroc: float | None
    met_when_empty: float | None

    @property
    def accuracy(self) -> float:
        return self.right / self.pairs


def grade(mode: str, questions: Sequence[Question], answers: Sequence[float | None]) -> Grade:
    """`answers` are P(met), ratings in the rating modes, or P(the first one is better) in mode `compare`; None where
    there is none. Any mode fails that answers less than half. Mode `reasoned` fails where it finds most things in an
    empty response: its explanations are made up."""
    pairs = pairs_of(questions)
    right = sum(_is_right(answers, pair) for pair in pairs)
    low, high = exact_interval(right, len(pairs))
    answered = sum(answer is not None for answer in answers)
    rates = mode in ("implicit", "likert")
    on_empty = [answer for one, answer in zip(questions, answers, strict=True) if one.on_empty and answer is not None]
    met_when_empty = sum(answer >= 0.5 for answer in on_empty) / len(on_empty) if on_empty and not rates else None
    trust: Trust = "unproven"
    reason: str | None = f"it tells what is met from what is not in {right} of {len(pairs)} pairs of the exam"
    if answered < _LEAST_ANSWERED * len(questions):
        trust, reason = "failed", f"it answered {answered} of {len(questions)} questions of the exam"
    elif mode == "reasoned" and met_when_empty is not None and met_when_empty > 0.5:
        trust, reason = "failed", f"it says met of {met_when_empty:.0%} of what an empty response does not have"
    elif low >= PROVEN_FROM:
        trust, reason = "proven", None
    return Grade(
        trust=trust,
        reason=reason,
        questions=len(questions),
        answered=answered,
        pairs=len(pairs),
        right=right,
        interval=(low, high),
        auroc=auroc(_known(questions, answers)),
        met_when_empty=met_when_empty,
    )


def _is_right(answers: Sequence[float | None], pair: Pair) -> bool:
    met, unmet = (answers[place] for place in pair)
    return met is not None and unmet is not None and met > unmet


@dataclass(frozen=True, slots=True)
class Agreement:
    """How P(met) agrees with labels. `agreement` is the share of labels that P(met) at a threshold of 0.5 says as
    well; `log_loss` is in nats, `ece` the expected calibration error over ten bins of equal width."""

    labels: int
    judged: int
    agreement: float
    log_loss: float
    brier: float
    ece: float
    auroc: float | None


def agree(questions: Sequence[Question], answers: Sequence[float | None]) -> Agreement | None:
    """Over the questions that have an answer; None where none has."""
    known = _known(questions, answers)
    if not known:
        return None
    count = len(known)
    return Agreement(
        labels=len(questions),
        judged=count,
        agreement=sum((p >= 0.5) is met for met, p in known) / count,
        log_loss=-math.fsum(math.log(_bounded(p if met else 1.0 - p)) for met, p in known) / count,
        brier=math.fsum((p - met) ** 2 for met, p in known) / count,
        ece=_ece(known),
        auroc=auroc(known),
    )


def _bounded(p: float) -> float:
    """So that one answer of 0 or 1 does not make a loss infinite."""
    return min(max(p, _LEAST_P), 1.0 - _LEAST_P)


_Known = Sequence[tuple[bool, float]]


def _known(questions: Sequence[Question], answers: Sequence[float | None]) -> _Known:
    pairs = zip(questions, answers, strict=True)
    return [(one.met, answer) for one, answer in pairs if answer is not None]


def _ece(known: _Known) -> float:
    bins: list[list[tuple[bool, float]]] = [[] for _ in range(_BINS)]
    for met, p in known:
        bins[min(int(p * _BINS), _BINS - 1)].append((met, p))
    return math.fsum(abs(math.fsum(p - met for met, p in each)) for each in bins) / len(known)


def auroc(known: _Known) -> float | None:
    """The probability that an answer on something met is larger than one on something unmet; a tie counts half."""
    met = sorted(p for is_met, p in known if is_met)
    unmet = sorted(p for is_met, p in known if not is_met)
    if not met or not unmet:
        return None
    below = equal = 0
    wins = 0.0
    for p in met:
        while below < len(unmet) and unmet[below] < p:
            below += 1
        equal = max(equal, below)
        while equal < len(unmet) and unmet[equal] == p:
            equal += 1
        wins += below + (equal - below) / 2
    return wins / (len(met) * len(unmet))


def exact_interval(successes: int, trials: int) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share at 95 %."""
    low = 0.0 if successes == 0 else _root(lambda p: _tail(range(successes, trials + 1), trials, p), 0.025)
    high = 1.0 if successes == trials else _root(lambda p: 1.0 - _tail(range(successes + 1), trials, p), 0.975)
    return low, high


def _tail(counts: Iterable[int], trials: int, p: float) -> float:
    return math.fsum(math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in counts)


def _root(rises: Callable[[float], float], value: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < value else (low, middle)
    return low
