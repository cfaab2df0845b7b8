"""Puts two responses into one query, in both orders, and reads which of them a judge prefers. Pure.

Guarantees: P(a over b) + P(b over a) = 1, exactly, whatever the judge gives. What the judge adds to the log-odds of the
response that it reads first is in neither.
"""

import math
from dataclasses import dataclass, replace

from service.modes.calibration import log_odds
from service.modes.modes import Query
from service.rubrics.judgement import Verdict
from service.rubrics.rubric import Candidate, Turn

LABELS = ("A", "B")
"""They name the responses by the order in which they are shown, and are the judge's labels."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one conversation, each as the candidate that it would be if it were scored by itself. Both have
    the same turns, reference and criteria."""

    a: Candidate
    b: Candidate

    def queries(self) -> tuple[Query, Query]:
        """With `a` first, and with `b` first."""
        return shown(self.a, self.b), shown(self.b, self.a)


@dataclass(frozen=True, slots=True)
class Preference:
    """`p` is P(a is better) of both orders, `orders` what it is with a first and with b first. `order_effect` is the
    one less the other: above 0 where the judge prefers what it reads first."""

    p: float
    orders: tuple[float, float]
    label_mass: float | None

    @property
    def order_effect(self) -> float:
        return self.orders[0] - self.orders[1]

    @property
    def disagrees(self) -> bool:
        """Whether each order has a better response of its own."""
        return (self.orders[0] - 0.5) * (self.orders[1] - 0.5) < 0


def shown(first: Candidate, second: Candidate) -> Query:
    """The query whether the first one is better. The rubric, which both have, is asked about as a whole."""
    turns = (*_said(first, LABELS[0]), *_said(second, LABELS[1]))
    return Query(replace(first, response="", trajectory=turns), None)


def read_preference(a_first: Verdict, b_first: Verdict) -> Preference:
    """From P(the first one is better) in both orders: the mean of the log-odds of a."""
    at = (log_odds(a_first.p_met) - log_odds(b_first.p_met)) / 2
    masses = [one.label_mass for one in (a_first, b_first) if one.label_mass is not None]
    # The smaller one of P(a) and P(b) is what the larger one leaves, or their sum could be off by 1e-16.
    larger = 1.0 / (1.0 + math.exp(-abs(at)))
    return Preference(
        p=larger if at >= 0 else 1.0 - larger,
        orders=(a_first.p_met, 1.0 - b_first.p_met),
        label_mass=min(masses, default=None),
    )


def _said(candidate: Candidate, label: str) -> list[Turn]:
    """A response as one turn, or a trajectory as its turns, under the label's name."""
    if not candidate.trajectory:
        return [Turn(f"Response {label}", candidate.response)]
    return [Turn(f"Response {label}, {turn.role}", turn.content) for turn in candidate.trajectory]
