"""Formulas turn the marks of a response into one number, each under a name and with options of its own. Pure.

The service scores by them, and the client what it has the verdicts of: this is their one place, and it imports nothing
of either.

`docs/guide/aggregations.md` has them with their sources. Throughout, c is a criterion's value (0 or 1, or P(met) when
soft), g its goodness: c if wanted, 1 - c if a fault, and w its |points|.

Guarantees: every formula is higher or the same where any criterion does better, so that the worst and the best verdicts
of unjudged criteria give the bounds of a score. Numbers are exact, so that a sum depends on neither the order nor the
magnitude of its parts.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Generic, Literal, Protocol, TypeVar

# Rubrics as Rewards, version 2 of the paper. Version 1 had 0.8 for pitfalls.
RAR_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"essential": 1.0, "important": 0.7, "optional": 0.3, "pitfall": 0.9}
)
# The bounds of points on the wire hold for weights, too.
MIN_WEIGHT, MAX_WEIGHT = 1e-6, 1e6

# Integers where the points are, which makes common rubrics several times cheaper than fractions throughout.
Exact = int | Fraction


class Counted(Protocol):
    """What a formula reads of a criterion."""

    @property
    def category(self) -> str | None: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


C_co = TypeVar("C_co", bound=Counted, covariant=True)


@dataclass(frozen=True, slots=True)
class Mark(Generic[C_co]):
    """A counted criterion with a value. `met` is its hard verdict, which a threshold may set apart from the value."""

    criterion: C_co
    points: Exact
    value: Exact
    met: bool
    by_judge: bool = False

    @property
    def sign(self) -> Literal["positive", "negative"]:
        return "positive" if self.points > 0 else "negative"

    @property
    def size(self) -> Exact:
        return self.points if self.points > 0 else -self.points

    @property
    def good(self) -> Exact:
        return self.value if self.points > 0 else 1 - self.value

    @property
    def passed(self) -> bool:
        return self.met is (self.points > 0)


Marks = Sequence[Mark[Counted]]


def exact(number: float) -> Exact:
    return int(number) if float(number).is_integer() else Fraction(number)


def rounded(number: Exact) -> float:
    """The nearest float; a ratio of extreme points that no float can hold becomes the largest one of its sign."""
    try:
        return float(number)
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max


@dataclass(frozen=True, slots=True)
class Aggregation:
    """A formula by name, with the options that it reads; the others have no meaning for it. `tag` names the criteria's
    tag that a formula looks at, `tag_value` the value that it needs there, None any."""

    name: str
    category_weights: Mapping[str, float] = field(default_factory=lambda: RAR_WEIGHTS)
    tag: str = ""
    tag_value: str | None = None
    cap: float = 1.0
    half_saturation: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in _TABLE:
            raise ValueError(f"no such aggregation; known: {', '.join(AGGREGATIONS)}")
        weights = self.category_weights
        if not all(one in weights and MIN_WEIGHT <= weights[one] <= MAX_WEIGHT for one in RAR_WEIGHTS):
            raise ValueError(f"every category needs a weight of {MIN_WEIGHT:g} to {MAX_WEIGHT:g}")
        if not (0 < self.cap <= 1 and 0 < self.half_saturation < math.inf):
            raise ValueError("`cap` is above 0 and at most 1, and `half_saturation` a number above 0")

    def of(self, marks: Marks) -> Exact:
        """The score of these marks, of which there is at least one."""
        return _TABLE[self.name](marks, self)

    def weight(self, mark: Mark[Counted]) -> Exact:
        """What the mark weighs in a sum. Without categories `rar_explicit` weighs by |points|, as the others do."""
        category = mark.criterion.category
        if self.name != "rar_explicit" or category is None:
            return mark.size
        return _exact_weight(self.category_weights[category])

    def tagged(self, criterion: Counted) -> bool:
        """Whether the formula's condition is about this criterion."""
        value = tag_of(criterion, self.tag)
        return value is not None and self.tag_value in (None, value)


@lru_cache(maxsize=256)
def _exact_weight(weight: float) -> Exact:
    """Fractions are slow to make, and there are few weights."""
    return exact(weight)


def tag_of(criterion: Counted, tag: str) -> str | None:
    """The value of a criterion's tag. Its category may come from its text."""
    return criterion.category if tag == "category" else criterion.tags.get(tag)


def _healthbench(marks: Marks, _: Aggregation) -> Exact:
    """Sum of points·c over the sum of positive points, unclipped (HealthBench; RuscaRL's Eq. 4). Without positive
    points: over the sum of w, in -1..0, where 0 is no fault."""
    earned: Exact = 0
    best: Exact = 0
    worst: Exact = 0
    for mark in marks:
        earned += mark.points * mark.value
        if mark.points > 0:
            best += mark.points
        else:
            worst -= mark.points
    return Fraction(earned, best or worst)


def _healthbench_clipped(marks: Marks, chosen: Aggregation) -> Exact:
    """`healthbench`, which is at most 1, clipped to 0..1. Without positive points: one more than it, where 1 is no
    fault."""
    if not any(mark.points > 0 for mark in marks):
        return 1 + _healthbench(marks, chosen)
    return max(_healthbench(marks, chosen), 0)


def _weighted(marks: Marks, chosen: Aggregation) -> Exact:
    """Sum of weight·g over the sum of weights, in 0..1."""
    weights = [chosen.weight(mark) for mark in marks]
    return Fraction(sum(weight * mark.good for weight, mark in zip(weights, marks, strict=True)), sum(weights))


def _mean(marks: Marks, _: Aggregation) -> Exact:
    """Mean of g, in 0..1; the size of the points does not matter."""
    return Fraction(sum(mark.good for mark in marks), len(marks))


def _min(marks: Marks, _: Aggregation) -> Exact:
    """The worst g, in 0..1."""
    return min(mark.good for mark in marks)


def _all_pass(marks: Marks, _: Aggregation) -> Exact:
    """Product of g: 1 if every wanted criterion is met and no fault is, else 0 (soft: what lies between)."""
    return math.prod(mark.good for mark in marks)


def _gated(marks: Marks, chosen: Aggregation) -> Exact:
    """0 unless every essential criterion passes by its hard verdict, else weighted by |points|, in 0..1. Without an
    essential criterion nothing is gated."""
    shut = any(not mark.passed for mark in marks if mark.criterion.category == "essential")
    return 0 if shut else _weighted(marks, chosen)


def _veto(marks: Marks, chosen: Aggregation) -> Exact:
    """0 where a criterion with the tag fails by its hard verdict, else weighted by |points|, in 0..1."""
    vetoed = any(not mark.passed for mark in marks if chosen.tagged(mark.criterion))
    return 0 if vetoed else _weighted(marks, chosen)


def _factual_gate(marks: Marks, chosen: Aggregation) -> Exact:
    """1 where every factual criterion passes by its hard verdict, else weighted by |points|, in 0..1. Without a
    factual criterion there is no gate to pass."""
    factual = [mark.passed for mark in marks if chosen.tagged(mark.criterion)]
    return 1 if factual and all(factual) else _weighted(marks, chosen)


def _conjunctive(marks: Marks, chosen: Aggregation) -> Exact:
    """Sum of w_k·(product of g in dimension k) over the sum of w_k, in 0..1; w_k is the sum of w in it."""
    return _by_dimension(marks, chosen, lambda members: math.prod(mark.good for mark in members))


def _caps(marks: Marks, chosen: Aggregation) -> Exact:
    """Sum of w_k·min(s_k, cap) over cap·(sum of w_k), in 0..1; s_k is dimension k's own weighted mean of g."""
    cap = exact(chosen.cap)
    return Fraction(_by_dimension(marks, chosen, lambda members: min(_weighted(members, chosen), cap)), cap)


def _saturation(marks: Marks, chosen: Aggregation) -> Exact:
    """Sum of w_k·f(s_k) over the sum of w_k, in 0..1, with f(s) = s·(1 + h) / (s + h): f(0) = 0 and f(1) = 1, and the
    steps between become smaller; h is `half_saturation`."""
    half = exact(chosen.half_saturation)

    def saturated(members: Marks) -> Exact:
        own = _weighted(members, chosen)
        return Fraction(own * (1 + half), own + half)

    return _by_dimension(marks, chosen, saturated)


def _by_dimension(marks: Marks, chosen: Aggregation, own: Callable[[Marks], Exact]) -> Exact:
    """The mean of the dimensions' scores, weighted by the sums of their |points|. A dimension is the criteria with the
    same value of the tag; a criterion without it is one of its own."""
    dimensions: dict[str | int, list[Mark[Counted]]] = {}
    for number, mark in enumerate(marks):
        value = tag_of(mark.criterion, chosen.tag)
        dimensions.setdefault(number if value is None else value, []).append(mark)
    sizes = [sum(mark.size for mark in members) for members in dimensions.values()]
    scores = map(own, dimensions.values())
    return Fraction(sum(size * score for size, score in zip(sizes, scores, strict=True)), sum(sizes))


_TABLE: Mapping[str, Callable[[Marks, Aggregation], Exact]] = MappingProxyType(
    {
        "healthbench": _healthbench,
        "healthbench_clipped": _healthbench_clipped,
        "rar_explicit": _weighted,
        "weighted_abs": _weighted,
        "all_pass": _all_pass,
        "mean": _mean,
        "min": _min,
        "gated": _gated,
        "conjunctive": _conjunctive,
        "factual_gate": _factual_gate,
        "veto": _veto,
        "caps": _caps,
        "saturation": _saturation,
    }
)
AGGREGATIONS: tuple[str, ...] = tuple(_TABLE)
HEALTHBENCH = Aggregation("healthbench")
