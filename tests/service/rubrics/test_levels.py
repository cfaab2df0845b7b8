"""Graded criteria in every aggregation, against a scorer written by hand, and against plain criteria bit by bit."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rubrics.aggregation import aggregate
from service.rubrics.judgement import Judgement, Verdict, combine_votes, decide
from service.rubrics.levels import (
    LevelVerdict,
    bimodal,
    combine_level_votes,
    decide_level,
    judged_level,
)
from service.rubrics.rubric import CATEGORIES, Category, Criterion, Option
from tests.service.rubrics.cases import RULES, UNJUDGED
from trainer_client.formulas import AGGREGATIONS, RAR_WEIGHTS, Aggregation
from trainer_client.level_choice import expected_value

RUBRICS = 300
THRESHOLDS = (0.3, 0.5, 0.8)


@dataclass(frozen=True)
class Plain:
    """A criterion as the oracle knows it: the values that it may have, the judge's probabilities or None."""

    points: int
    category: Category
    tag: str | None
    values: tuple[float, ...]
    p: tuple[float, ...] | None


@dataclass(frozen=True)
class Outcome:
    """One criterion with a value."""

    of: Plain
    value: Fraction
    met: bool

    @property
    def good(self) -> Fraction:
        return self.value if self.of.points > 0 else 1 - self.value

    @property
    def passed(self) -> bool:
        return self.met == (self.of.points > 0)

    @property
    def size(self) -> int:
        return abs(self.of.points)


def _mean(of: Sequence[Outcome]) -> Fraction:
    return sum((one.size * one.good for one in of), Fraction(0)) / sum(one.size for one in of)


def _healthbench(of: Sequence[Outcome]) -> Fraction:
    earned = sum((one.of.points * one.value for one in of), Fraction(0))
    best = sum(one.size for one in of if one.of.points > 0)
    return earned / (best or sum(one.size for one in of))


def _clipped(of: Sequence[Outcome]) -> Fraction:
    raw = _healthbench(of)
    return max(raw, Fraction(0)) if any(one.of.points > 0 for one in of) else 1 + raw


def _rar(of: Sequence[Outcome]) -> Fraction:
    weights = [Fraction(RAR_WEIGHTS[one.of.category]) for one in of]
    return sum((w * one.good for w, one in zip(weights, of, strict=True)), Fraction(0)) / sum(weights)


def _product(of: Sequence[Outcome]) -> Fraction:
    return math.prod((one.good for one in of), start=Fraction(1))


def _dimensions(of: Sequence[Outcome], own: Callable[[Sequence[Outcome]], Fraction]) -> Fraction:
    tags = sorted({one.of.tag for one in of if one.of.tag is not None})
    parts = [[one for one in of if one.of.tag == tag] for tag in tags] + [[one] for one in of if one.of.tag is None]
    weighed = [(sum(one.size for one in part), own(part)) for part in parts]
    return sum((w * value for w, value in weighed), Fraction(0)) / sum(w for w, _ in weighed)


def _all_tagged_pass(of: Sequence[Outcome]) -> bool:
    facts = [one.passed for one in of if one.of.tag == "a"]
    return bool(facts) and all(facts)


ORACLE: dict[str, Callable[[Sequence[Outcome]], Fraction]] = {
    "healthbench": _healthbench,
    "healthbench_clipped": _clipped,
    "rar_explicit": _rar,
    "weighted_abs": _mean,
    "all_pass": _product,
    "mean": lambda of: sum((one.good for one in of), Fraction(0)) / len(of),
    "min": lambda of: min(one.good for one in of),
    "gated": lambda of: (
        Fraction(0) if any(one.of.category == "essential" and not one.passed for one in of) else _mean(of)
    ),
    "conjunctive": lambda of: _dimensions(of, _product),
    "factual_gate": lambda of: Fraction(1) if _all_tagged_pass(of) else _mean(of),
    "veto": lambda of: Fraction(0) if any(one.of.tag == "a" and not one.passed for one in of) else _mean(of),
    "caps": lambda of: _dimensions(of, lambda own: min(_mean(own), Fraction(0.5))) / Fraction(0.5),
    "saturation": lambda of: _dimensions(of, lambda own: _mean(own) * Fraction(1.5) / (_mean(own) + Fraction(0.5))),
}


def _drawn(random: Random) -> Plain:
    count = random.choice((2, 2, 3, 4))
    values = [0.0, 1.0] if count == 2 and random.random() < 0.5 else [random.randrange(9) / 8 for _ in range(count)]
    weights = [random.randrange(1, 9) for _ in values]
    p = tuple(weight / sum(weights) for weight in weights) if random.random() < 0.7 else None
    return Plain(
        random.choice((-8, -3, 1, 2, 5)),
        random.choice(CATEGORIES),
        random.choice((None, "a", "b")),
        tuple(values),
        p,
    )


def _met(value: float | Fraction, threshold: float) -> bool:
    return value > 0 and value >= threshold


def _level(one: Plain, threshold: float) -> int:
    assert one.p is not None
    if len(one.values) == 2 and one.values[0] != one.values[1]:
        low, high = (0, 1) if one.values[0] < one.values[1] else (1, 0)
        return high if one.p[high] >= threshold else low
    best = 0
    for place in range(1, len(one.values)):
        if (one.p[place], one.values[place]) > (one.p[best], one.values[best]):
            best = place
    return best


def _outcomes(one: Plain, soft: bool, threshold: float) -> list[Outcome]:
    """What it may come out as: one outcome where it was judged, else one for each option."""
    if one.p is None:
        return [Outcome(one, Fraction(value), _met(value, threshold)) for value in one.values]
    value = one.values[_level(one, threshold)]
    counted = expected_value(one.p, one.values) if soft else value
    return [Outcome(one, Fraction(counted), _met(value, threshold))]


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_scores_and_bounds_are_those_of_every_completion(name: str) -> None:
    """300 rubrics for each aggregation, with soft, thresholds and every rule for the unjudged: 0 wrong."""
    random = Random(name)
    chosen = Aggregation(name, tag="kind", tag_value="a" if name in ("veto", "factual_gate") else None)
    if name in ("caps", "saturation"):
        chosen = Aggregation(name, tag="kind", cap=0.5, half_saturation=0.5)
    for _ in range(RUBRICS):
        rubric = [_drawn(random) for _ in range(random.randint(1, 5))]
        soft, threshold = random.random() < 0.5, random.choice(THRESHOLDS)
        unjudged, floor = random.choice((None, *RULES)), random.choice((0.0, 0.5, 1.0))
        got = aggregate(
            chosen,
            [_criterion(one) for one in rubric],
            [_judgement(one, threshold) for one in rubric],
            soft=soft,
            threshold=threshold,
            unjudged=unjudged,
            min_coverage=floor,
        )
        scores = [
            ORACLE[name](each) for each in itertools.product(*(_outcomes(one, soft, threshold) for one in rubric))
        ]
        low, high = min(scores), max(scores)
        assert got.bounds == (float(low), float(high))
        known = sum(abs(one.points) for one in rubric if one.p is not None)
        coverage = known / sum(abs(one.points) for one in rubric)
        assert got.coverage == pytest.approx(coverage)
        if coverage == 1:
            assert got.value == float(low)
        elif unjudged is None or coverage < floor - 1e-9 or not known:
            assert got.value is None
        else:
            assert got.value == float(low if unjudged == "lower" else (low + high) / 2)


def _criterion(one: Plain) -> Criterion:
    tags = {} if one.tag is None else {"kind": one.tag}
    options = tuple(Option(f"option {n}", value) for n, value in enumerate(one.values))
    return Criterion("0", "t", float(one.points), one.category, tags, options=options)


def _judgement(one: Plain, threshold: float) -> Judgement:
    if one.p is None:
        return UNJUDGED
    options = [Option("", value) for value in one.values]
    return decide_level(LevelVerdict(one.p, 1.0), options, threshold=threshold, mass_floor=0.5, source="judge")


BOTH = (Option("not true", 0.0), Option("true", 1.0))
CASE = st.lists(
    st.tuples(st.floats(-10, 10).filter(lambda points: points == 0 or abs(points) > 1e-6), st.floats(0, 1) | st.none()),
    min_size=1,
    max_size=6,
)


@settings(max_examples=1000)
@given(
    CASE, st.sampled_from(AGGREGATIONS), st.booleans(), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.sampled_from(RULES)
)
def test_two_levels_are_a_plain_criterion_bit_by_bit(
    case: list[tuple[float, float | None]], name: str, soft: bool, threshold: float, unjudged: str
) -> None:
    """1,000 rubrics: the verdict, P(met), the score, bounds and coverage are equal, not close."""
    plain: list[Judgement] = []
    graded: list[Judgement] = []
    for _, p in case:
        if p is None:
            plain.append(UNJUDGED)
            graded.append(UNJUDGED)
            continue
        plain.append(decide(Verdict(p, 0.9), threshold=threshold, mass_floor=0.5, source="judge"))
        two = LevelVerdict((1 - p, p), 0.9)
        graded.append(decide_level(two, BOTH, threshold=threshold, mass_floor=0.5, source="judge"))
    for one, other in zip(plain, graded, strict=True):
        assert (one.met, one.p, one.p_raw, one.label_mass) == (other.met, other.p, other.p_raw, other.label_mass)
        assert other.value == one.p
    rubric = [Criterion(str(n), "t", points, "essential") for n, (points, _) in enumerate(case)]
    of_levels = [Criterion(one.id, "t", one.points, "essential", options=BOTH) for one in rubric]
    chosen = Aggregation(name, tag="category")
    about = {"soft": soft, "min_coverage": 0.2, "unjudged": unjudged, "threshold": threshold}
    assert aggregate(chosen, rubric, plain, **about) == aggregate(chosen, of_levels, graded, **about)  # type: ignore[arg-type]


@settings(max_examples=500)
@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=5), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_votes_on_two_levels_are_votes_on_a_plain_criterion(cast: list[float | None], threshold: float) -> None:
    """500 polls, with votes that failed."""
    plain = [
        UNJUDGED if p is None else decide(Verdict(p, 1.0), threshold=threshold, mass_floor=0.5, source="judge")
        for p in cast
    ]
    graded = [
        UNJUDGED if p is None else judged_level((1 - p, p), BOTH, threshold=threshold, source="judge", label_mass=1.0)
        for p in cast
    ]
    one = combine_votes(plain, threshold=threshold)
    other = combine_level_votes(graded, BOTH, threshold=threshold)
    assert (one.status, one.met, one.p, one.label_mass) == (other.status, other.met, other.p, other.label_mass)


THREE = (Option("none", 0.0), Option("some", 0.5), Option("all", 1.0))


def test_a_judgement_says_level_probabilities_and_expectation() -> None:
    found = decide_level(LevelVerdict((0.25, 0.5, 0.25), 0.9), THREE, threshold=0.5, mass_floor=0.5, source="cache")
    assert (found.level, found.met, found.p, found.value) == (1, True, 0.75, 0.5)
    assert (found.p_levels, found.source, found.label_mass) == ((0.25, 0.5, 0.25), "cache", 0.9)


def test_labels_without_mass_are_an_abstention_and_no_level() -> None:
    found = decide_level(LevelVerdict((0.0, 0.0, 1.0), 0.1), THREE, threshold=0.5, mass_floor=0.5, source="judge")
    assert (found.status, found.level, found.value, found.met) == ("abstained", None, None, None)


def test_a_level_that_missing_votes_could_change_is_not_given() -> None:
    sure = judged_level((0.1, 0.8, 0.1), THREE, threshold=0.5, source="judge")
    assert combine_level_votes([sure, UNJUDGED], THREE, threshold=0.5).status == "timeout"
    found = combine_level_votes([sure, sure, sure, UNJUDGED], THREE, threshold=0.5)
    assert (found.status, found.level) == ("ok", 1)
    assert found.p_levels == pytest.approx((0.1, 0.8, 0.1))


@pytest.mark.parametrize(
    ("p_levels", "found"),
    [
        ((0.5, 0.0, 0.5), (0, 2)),
        ((0.4, 0.3, 0.3), None),
        ((0.1, 0.8, 0.1), None),
        ((0.5, 0.5), None),
        ((0.05, 0.45, 0.05, 0.45), (1, 3)),
        ((0.6, 0.2, 0.2), None),
    ],
)
def test_two_peaks_with_a_valley_between_them(p_levels: tuple[float, ...], found: tuple[int, int] | None) -> None:
    assert bimodal(p_levels) == found


def test_votes_that_were_calibrated_keep_the_mean_of_what_the_judge_gave() -> None:
    def vote(p: tuple[float, ...], calibrated: tuple[float, ...] | None) -> Judgement:
        verdict = LevelVerdict(p, 0.9)
        return decide_level(verdict, THREE, threshold=0.5, mass_floor=0.5, source="judge", calibrated=calibrated)

    both = [vote((0.5, 0.25, 0.25), (0.0, 0.0, 1.0)), vote((0.0, 0.25, 0.75), (0.0, 0.5, 0.5))]
    found = combine_level_votes(both, THREE, threshold=0.5)
    assert (found.p_levels, found.p_levels_raw) == ((0.0, 0.25, 0.75), (0.25, 0.25, 0.5))
    assert (found.p, found.p_raw) == (1.0, 0.75)
    plain = combine_level_votes([vote((0.5, 0.25, 0.25), None)] * 2, THREE, threshold=0.5)
    assert plain.p_levels_raw is None and plain.p_raw == plain.p
