"""Computes the score of a response from its verdicts, as the service does, bit by bit: no judge is asked for it.

`docs/guide/aggregations.md` has the formulas with their sources. The service has its own of them, on its own types; a
test holds that both give the same floats.

Guarantees: sums are exact fractions, rounded once at the end. A criterion without a verdict is None, never 0 or False:
its score is what `unjudged` says, or None.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from pydantic import TypeAdapter

from trainer_client import wire

Exact = int | Fraction
_ROUNDING = 1e-9
"""A `min_coverage` that a caller added up in floats may exceed the share that it means."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is known of a criterion: `met` is None without a verdict, `p` also for a rule's."""

    met: bool | None
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Formula:
    """How verdicts become a score: the options of a request of that name."""

    aggregation: wire.Aggregation = "healthbench"
    soft: bool = False
    threshold: float = 0.5
    min_coverage: float = 1.0
    unjudged: wire.Unjudged | None = None

    def score(self, criteria: Sequence["Counted"], rulings: Sequence[Ruling | None]) -> float | None:
        """The score of one response, whose rulings are those of the criteria; None where too little is known. Raises
        ValueError where `rar_explicit` needs a category that a criterion lacks."""
        formula = _Options.of(self.aggregation)
        pairs = [(one, ruling) for one, ruling in zip(criteria, rulings, strict=True) if one.points != 0]
        if formula.name == "rar_explicit":
            _check_categories([one for one, _ in pairs])
        judged = [self._mark(one, ruling) for one, ruling in pairs if ruling is not None and ruling.met is not None]
        missing = [one for one, ruling in pairs if ruling is None or ruling.met is None]
        if not judged:
            return None
        if not missing:
            return _rounded(formula.apply(judged))
        if self.unjudged is None or _coverage(judged, missing) < self.min_coverage - _ROUNDING:
            return None
        low, high = (formula.apply([*judged, *(_at(one, good=good) for one in missing)]) for good in (False, True))
        return _rounded(low if self.unjudged == "lower" else Fraction(low + high, 2))

    def _mark(self, one: "Counted", ruling: Ruling) -> "_Mark":
        """The hard verdict is by the threshold where P(met) is known, else what was logged."""
        met = ruling.met if ruling.p is None else ruling.p >= self.threshold
        value = int(bool(met)) if not self.soft or ruling.p is None else _exact(ruling.p)
        return _Mark(one, _exact(one.points), value, bool(met))


@dataclass(frozen=True, slots=True)
class Counted:
    """What a formula reads of a criterion: the points as counted, its category, its tags."""

    points: float
    category: wire.Category | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, criterion: wire.Criterion) -> "Counted":
        return cls(criterion.worth, criterion.category, criterion.tags)


@dataclass(frozen=True, slots=True)
class _Mark:
    criterion: Counted
    points: Exact
    value: Exact
    met: bool

    @property
    def size(self) -> Exact:
        return self.points if self.points > 0 else -self.points

    @property
    def good(self) -> Exact:
        return self.value if self.points > 0 else 1 - self.value

    @property
    def passed(self) -> bool:
        return self.met is (self.points > 0)


@dataclass(frozen=True, slots=True)
class _Options:
    """A formula's name, and the options that it reads."""

    name: str
    weights: Mapping[str, float]
    tag: str
    tag_value: str | None
    cap: Exact
    half: Exact

    @classmethod
    @lru_cache(maxsize=64)
    def named(cls, chosen: str) -> "_Options":
        """The options that the contract gives, from an aggregation as JSON."""
        given = _AGGREGATION.validate_json(chosen)
        options = {} if isinstance(given, str) else given.model_dump()
        return cls(
            name=wire.aggregation_name(given),
            weights=options.get("category_weights", {}),
            tag=options.get("tag", ""),
            tag_value=options.get("tag_value"),
            cap=_exact(options.get("cap", 1)),
            half=_exact(options.get("half_saturation", 1)),
        )

    @classmethod
    def of(cls, chosen: wire.Aggregation) -> "_Options":
        """A name alone means the options' defaults."""
        named = {"name": chosen} if isinstance(chosen, str) else chosen.model_dump(mode="json")
        return cls.named(json.dumps(named))

    def apply(self, marks: Sequence[_Mark]) -> Exact:
        score: Exact = _TABLE[self.name](marks, self)
        return score

    def weight(self, mark: _Mark) -> Exact:
        category = mark.criterion.category
        return mark.size if self.name != "rar_explicit" or category is None else _exact(self.weights[category])

    def tagged(self, criterion: Counted) -> bool:
        value = self.tag_of(criterion)
        return value is not None and self.tag_value in (None, value)

    def tag_of(self, criterion: Counted) -> str | None:
        return criterion.category if self.tag == "category" else criterion.tags.get(self.tag)


_AGGREGATION: TypeAdapter[wire.Aggregation] = TypeAdapter(wire.Aggregation)


def _healthbench(marks: Sequence[_Mark], _: _Options) -> Exact:
    earned = sum(mark.points * mark.value for mark in marks)
    best = sum(mark.points for mark in marks if mark.points > 0)
    return Fraction(earned, best or sum(mark.size for mark in marks))


def _healthbench_clipped(marks: Sequence[_Mark], options: _Options) -> Exact:
    plain = _healthbench(marks, options)
    return max(plain, 0) if any(mark.points > 0 for mark in marks) else 1 + plain


def _weighted(marks: Sequence[_Mark], options: _Options) -> Exact:
    weights = [options.weight(mark) for mark in marks]
    return Fraction(sum(one * mark.good for one, mark in zip(weights, marks, strict=True)), sum(weights))


def _mean(marks: Sequence[_Mark], _: _Options) -> Exact:
    return Fraction(sum(mark.good for mark in marks), len(marks))


def _min(marks: Sequence[_Mark], _: _Options) -> Exact:
    return min(mark.good for mark in marks)


def _all_pass(marks: Sequence[_Mark], _: _Options) -> Exact:
    return math.prod(mark.good for mark in marks)


def _gated(marks: Sequence[_Mark], options: _Options) -> Exact:
    shut = any(not mark.passed for mark in marks if mark.criterion.category == "essential")
    return 0 if shut else _weighted(marks, options)


def _veto(marks: Sequence[_Mark], options: _Options) -> Exact:
    vetoed = any(not mark.passed for mark in marks if options.tagged(mark.criterion))
    return 0 if vetoed else _weighted(marks, options)


def _factual_gate(marks: Sequence[_Mark], options: _Options) -> Exact:
    factual = [mark.passed for mark in marks if options.tagged(mark.criterion)]
    return 1 if factual and all(factual) else _weighted(marks, options)


def _conjunctive(marks: Sequence[_Mark], options: _Options) -> Exact:
    return _by_dimension(marks, options, lambda members: math.prod(mark.good for mark in members))


def _caps(marks: Sequence[_Mark], options: _Options) -> Exact:
    capped = _by_dimension(marks, options, lambda members: min(_weighted(members, options), options.cap))
    return Fraction(capped, options.cap)


def _saturation(marks: Sequence[_Mark], options: _Options) -> Exact:
    def saturated(members: Sequence[_Mark]) -> Exact:
        own = _weighted(members, options)
        return Fraction(own * (1 + options.half), own + options.half)

    return _by_dimension(marks, options, saturated)


def _by_dimension(marks: Sequence[_Mark], options: _Options, own: Callable[[Sequence[_Mark]], Exact]) -> Exact:
    dimensions: dict[str | int, list[_Mark]] = {}
    for number, mark in enumerate(marks):
        value = options.tag_of(mark.criterion)
        dimensions.setdefault(number if value is None else value, []).append(mark)
    sizes = [sum(mark.size for mark in members) for members in dimensions.values()]
    scores = map(own, dimensions.values())
    return Fraction(sum(size * score for size, score in zip(sizes, scores, strict=True)), sum(sizes))


_TABLE: Mapping[str, Callable[[Sequence[_Mark], _Options], Exact]] = {
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


def _check_categories(criteria: Sequence[Counted]) -> None:
    """Raises ValueError where some criteria have a category and others have none."""
    if 0 < sum(one.category is None for one in criteria) < len(criteria):
        raise ValueError("`rar_explicit` weighs by category: give every counted criterion of a rubric one, or none")


def _at(criterion: Counted, *, good: bool) -> _Mark:
    """The mark of a criterion whose verdict came out as well as it can, or as badly."""
    met = good is (criterion.points > 0)
    return _Mark(criterion, _exact(criterion.points), int(met), met)


def _coverage(judged: Sequence[_Mark], missing: Sequence[Counted]) -> float:
    size = sum(mark.size for mark in judged)
    return _rounded(Fraction(size, size + sum(_at(one, good=True).size for one in missing)))


def _exact(number: float) -> Exact:
    return int(number) if float(number).is_integer() else Fraction(number)


def _rounded(number: Exact) -> float:
    """The nearest float; the largest one of its sign where none can hold the number."""
    try:
        return float(number)
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max
