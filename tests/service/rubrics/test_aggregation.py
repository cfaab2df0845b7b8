"""Scores against hand computation, and what must hold for every rubric (law 1)."""

import itertools
import math
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.rubrics.aggregation import AGGREGATIONS, RAR_V1_WEIGHTS, RAR_WEIGHTS, Score, Unjudged, aggregate, check
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import CATEGORIES, Category, Criterion
from trainer_client import wire

RULES: tuple[Unjudged, ...] = get_args(wire.Unjudged)
UNJUDGED = Judgement(status="timeout", source="judge")


def judged(met: bool, p: float | None = None) -> Judgement:
    return Judgement(status="ok", source="judge", met=met, p=p)


def criterion(points: float, category: Category | None = None) -> Criterion:
    return Criterion(id="0", text="t", points=points, category=category)


def score(
    name: str,
    *pairs: tuple[float, float | None],
    soft: bool = False,
    min_coverage: float = 1.0,
    unjudged: Unjudged | None = None,
) -> Score:
    """Of (points, value): value None is unjudged, and one below 1 is P(met) with a threshold of a half."""
    return aggregate(
        name,
        [criterion(points) for points, _ in pairs],
        [UNJUDGED if value is None else judged(value >= 0.5, value) for _, value in pairs],
        soft=soft,
        min_coverage=min_coverage,
        unjudged=unjudged,
    )


def test_the_names_are_those_of_the_wire_and_of_the_page() -> None:
    assert set(AGGREGATIONS) == set(get_args(wire.Aggregation))
    page = (Path(__file__).parents[3] / "docs/guide/aggregations.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip(" `") for line in page.splitlines() if line.startswith("| `")]
    assert rows == list(AGGREGATIONS)


# HealthBench: 5, 10 and 7 wanted, -6 and -8 faults; 5 and 7 and -6 are met.
MIXED: tuple[tuple[float, float | None], ...] = ((5, 1), (10, 0), (7, 1), (-6, 1), (-8, 0))
FAULTS: tuple[tuple[float, float | None], ...] = ((-6, 1), (-2, 0))
SOFT: tuple[tuple[float, float | None], ...] = ((4, 0.75), (-2, 0.25))


@pytest.mark.parametrize(
    ("name", "pairs", "soft", "expected"),
    [
        ("healthbench", MIXED, False, (5 + 7 - 6) / 22),
        ("healthbench", ((2, 0), (-8, 1)), False, -4.0),
        ("healthbench", FAULTS, False, -6 / 8),
        ("healthbench", ((-6, 0), (-2, 0)), False, 0.0),
        ("healthbench", SOFT, True, (3 - 0.5) / 4),
        ("healthbench", SOFT, False, 1.0),
        ("healthbench_clipped", MIXED, False, 6 / 22),
        ("healthbench_clipped", ((2, 0), (-8, 1)), False, 0.0),
        ("healthbench_clipped", FAULTS, False, 1 - 6 / 8),
        ("healthbench_clipped", ((-6, 0), (-2, 0)), False, 1.0),
        ("weighted_abs", MIXED, False, (5 + 7 + 8) / 36),
        ("weighted_abs", FAULTS, False, 2 / 8),
        ("weighted_abs", SOFT, True, (3 + 1.5) / 6),
        ("rar_explicit", MIXED, False, (5 + 7 + 8) / 36),
        ("all_pass", MIXED, False, 0.0),
        ("all_pass", ((5, 1), (-6, 0)), False, 1.0),
        ("all_pass", ((5, 1), (-6, 1)), False, 0.0),
        ("all_pass", SOFT, True, 0.75 * 0.75),
        ("mean", MIXED, False, 3 / 5),
        ("mean", FAULTS, False, 1 / 2),
        ("min", MIXED, False, 0.0),
        ("min", ((4, 0.9), (-2, 0.25)), True, 0.75),
        ("gated", MIXED, False, (5 + 7 + 8) / 36),
    ],
)
def test_by_hand(name: str, pairs: tuple[tuple[float, float | None], ...], soft: bool, expected: float) -> None:
    found = score(name, *pairs, soft=soft)
    assert found.value == pytest.approx(expected, abs=1e-15)
    assert (found.bounds, found.coverage, found.status) == ((found.value, found.value), 1.0, "ok")


RAR = [criterion(5, "essential"), criterion(4, "important"), criterion(1, "optional"), criterion(-1, "pitfall")]


def test_rar_weighs_by_category_and_not_by_points() -> None:
    verdicts = [judged(True), judged(False), judged(True), judged(False)]
    assert aggregate("rar_explicit", RAR, verdicts).value == pytest.approx((1.0 + 0.3 + 0.9) / 2.9)
    fallen = [*verdicts[:3], judged(True)]
    assert aggregate("rar_explicit", RAR, fallen).value == pytest.approx((1.0 + 0.3) / 2.9)
    assert aggregate("rar_explicit", RAR, fallen, weights=RAR_V1_WEIGHTS).value == pytest.approx(1.3 / 2.8)
    avoided = [*RAR[:3], criterion(1, "pitfall")]
    assert aggregate("rar_explicit", avoided, fallen).value == pytest.approx((1.0 + 0.3 + 0.9) / 2.9)


def test_rar_with_some_categories_is_refused_by_index_alone() -> None:
    rubric = [replace(criterion(1), id="secret", text="secret"), RAR[0], criterion(0), criterion(-2)]
    with pytest.raises(InvalidRequest) as caught:
        check("rar_explicit", rubric)
    assert "indexes have none: 0, 3;" in str(caught.value)
    assert [place for place, _ in caught.value.errors] == [("criteria", 0), ("criteria", 3)]
    assert "secret" not in repr(caught.value.errors) + str(caught.value)
    with pytest.raises(InvalidRequest):
        aggregate("rar_explicit", rubric, [UNJUDGED] * 4)
    check("rar_explicit", [RAR[0], criterion(0)])
    for name in set(AGGREGATIONS) - {"rar_explicit"}:
        check(name, rubric)


@pytest.mark.parametrize("weight", [0.0, -1.0, 1e-7, 1e7, math.inf, math.nan])
def test_a_category_weight_is_a_number_of_sensible_size(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        aggregate("rar_explicit", RAR, [judged(True)] * 4, weights={**RAR_WEIGHTS, "optional": weight})


def test_the_gate_is_hard_also_where_the_values_are_soft() -> None:
    rubric = [criterion(3, "essential"), criterion(-1, "essential"), criterion(4)]
    open_gate = [judged(True, 0.6), judged(False, 0.4), judged(False, 0.25)]
    assert aggregate("gated", rubric, open_gate).value == pytest.approx(4 / 8)
    assert aggregate("gated", rubric, open_gate, soft=True).value == pytest.approx((1.8 + 0.6 + 1.0) / 8)
    for shut in ([judged(False, 0.6), *open_gate[1:]], [open_gate[0], judged(True, 0.4), open_gate[2]]):
        assert aggregate("gated", rubric, shut, soft=True).value == 0.0


def test_a_rule_has_a_verdict_and_may_have_no_probability() -> None:
    verdicts = [Judgement(status="ok", source="rule", met=True), judged(False, 0.25)]
    assert aggregate("mean", [criterion(1), criterion(1)], verdicts, soft=True).value == 0.625


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_without_a_counted_criterion_there_is_no_score(name: str) -> None:
    nothing = Score(value=None, bounds=None, coverage=1.0, status="ok")
    assert aggregate(name, [], []) == nothing
    assert aggregate(name, [criterion(0.0), criterion(-0.0)], [UNJUDGED, judged(True)]) == nothing


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_a_monitor_enters_nothing(name: str) -> None:
    rubric = [criterion(3, "important"), criterion(0, "essential"), criterion(-2, "pitfall")]
    for monitored in (judged(True), judged(False), UNJUDGED):
        found = aggregate(name, rubric, [judged(True), monitored, judged(False)])
        assert found == Score(value=1.0, bounds=(1.0, 1.0), coverage=1.0, status="ok")


def test_what_is_missing_is_bounds_and_coverage_and_never_a_zero() -> None:
    assert score("healthbench", (6, 1), (4, None), (-5, 0)) == Score(None, (0.6, 1.0), 11 / 15, "partial")
    assert score("healthbench", (6, 1), (4, 1), (-5, None)) == Score(None, (0.5, 1.0), 10 / 15, "partial")
    assert score("healthbench", (6, None), (4, None), (-5, None)) == Score(None, (-0.5, 1.0), 0.0, "failed")
    for rule in (None, *RULES):
        assert score("healthbench", (6, None), (-5, None), min_coverage=0, unjudged=rule).value is None
        assert score("healthbench", (6, 1), (4, None), (-5, 0), min_coverage=0.74, unjudged=rule).value is None
    assert score("healthbench", (6, 1), (4, None), (-5, 0), min_coverage=0.7).value is None
    assert score("healthbench", (6, 1), (4, None), (-5, 0), min_coverage=0.7, unjudged="lower").value == 0.6
    assert score("healthbench", (6, 1), (4, None), (-5, 0), min_coverage=0.7, unjudged="middle").value == 0.8


def test_a_coverage_that_was_added_up_in_floats_is_reached() -> None:
    assert 0.1 + 0.2 > 3 / 10
    assert score("mean", (3, 1), (7, None), min_coverage=0.1 + 0.2, unjudged="lower").value == 0.5
    assert score("mean", (3, 1), (7, None), min_coverage=0.31, unjudged="lower").value is None


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_a_fault_without_a_verdict_is_not_paid_like_one_that_is_not_there(name: str) -> None:
    """Over the judged alone each of these scores would be 1, the upper bound."""
    pairs: tuple[tuple[float, float | None], ...] = ((5, 1), (-5, None))
    absent = score(name, (5, 1), (-5, 0)).value
    found = score(name, (5, 1), (-5, 1)).value
    assert absent is not None
    assert found is not None
    assert score(name, *pairs, min_coverage=0.5).value is None
    assert score(name, *pairs, min_coverage=0.5, unjudged="lower") == Score(found, (found, absent), 0.5, "partial")
    assert score(name, *pairs, min_coverage=0.5, unjudged="middle").value == (found + absent) / 2


@given(st.sampled_from(AGGREGATIONS), st.data())
def test_a_score_of_a_part_is_its_lower_bound_or_the_middle(name: str, data: st.DataObject) -> None:
    case, soft, least = data.draw(cases()), data.draw(st.booleans()), data.draw(st.floats(0, 1))
    found = {rule: aggregate(name, *case, soft=soft, min_coverage=least, unjudged=rule) for rule in (None, *RULES)}
    assert len({(one.bounds, one.coverage, one.status) for one in found.values()}) == 1
    low, high = found[None].bounds or (0.0, 0.0)
    values = {rule: one.value for rule, one in found.items()}
    if found[None].status == "ok":
        assert len(set(values.values())) == 1
        return
    assert values[None] is None
    enough = found[None].status == "partial" and found[None].coverage >= least - 1e-9
    assert values["lower"] == (low if enough else None)
    assert (values["middle"] is not None) == enough
    if values["middle"] is not None:
        assert low <= values["middle"] <= high
        assert values["middle"] == pytest.approx(low / 2 + high / 2)


def test_points_that_no_float_can_add_up() -> None:
    huge = sys.float_info.max
    assert score("healthbench", (huge, 1), (huge, 0), (huge, 1), (-huge, 1)).value == pytest.approx(1 / 3)
    assert score("weighted_abs", (huge, 1), (huge, 0), (-huge, 1)).value == pytest.approx(1 / 3)
    assert score("healthbench", (5e-324, 0), (-huge, 1)).value == -huge
    assert score("healthbench", (1e308, 1), (-1e308, 1), (1e-300, 1)).value == 1e-300 / 1e308


def test_lengths_must_agree_and_numbers_must_be_possible() -> None:
    with pytest.raises(ValueError, match="shorter"):
        aggregate("mean", [criterion(1), criterion(1)], [judged(True)])
    with pytest.raises(ValueError, match="no verdict"):
        aggregate("mean", [criterion(1)], [Judgement(status="ok", source="judge", p=0.5)])
    for p in (math.nan, -0.1, 1.1, math.inf):
        with pytest.raises(ValueError, match="not a probability"):
            aggregate("mean", [criterion(1)], [judged(True, p)], soft=True)
    with pytest.raises(InvalidRequest, match="known: healthbench, "):
        aggregate("median", [criterion(1)], [judged(True)])


# Properties. A case is a rubric and, for each criterion, P(met) with a verdict at a threshold of a half, or None.
POINTS = st.one_of(
    st.integers(-10, 10).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e308, -1e308, sys.float_info.max, 5e-324, -5e-324, 0.0, -0.0]),
)
VALUES = st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0, 1))
Case = tuple[list[Criterion], list[Judgement]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    points = draw(st.lists(POINTS, min_size=1, max_size=7))
    categorised = draw(st.booleans())
    rubric, judgements = [], []
    for number in points:
        rubric.append(criterion(number, draw(st.sampled_from(CATEGORIES)) if categorised else None))
        value = draw(VALUES)
        judgements.append(UNJUDGED if value is None else judged(value >= 0.5, value))
    return rubric, judgements


NAMES = st.sampled_from(AGGREGATIONS)


@given(NAMES, cases(), st.booleans(), st.floats(0, 1))
def test_every_number_is_finite_and_in_its_range(name: str, case: Case, soft: bool, min_coverage: float) -> None:
    found = aggregate(name, *case, soft=soft, min_coverage=min_coverage, unjudged="middle")
    assert 0 <= found.coverage <= 1
    if found.bounds is None:
        assert found.value is None
        assert not any(criterion.counted for criterion in case[0])
        return
    low, high = found.bounds
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert low <= (low if found.value is None else found.value) <= high
    assert high <= 1
    assert name == "healthbench" or low >= 0


@given(NAMES, cases(), st.booleans())
def test_every_completion_lies_within_the_bounds_and_both_ends_are_attained(name: str, case: Case, soft: bool) -> None:
    rubric, judgements = case
    found = aggregate(name, rubric, judgements, soft=soft)
    assume(found.bounds is not None)
    missing = [i for i, (c, j) in enumerate(zip(rubric, judgements, strict=True)) if c.counted and not j.ok]
    values = []
    for completion in itertools.product((0.0, 1.0), repeat=len(missing)):
        complete = list(judgements)
        for i, value in zip(missing, completion, strict=True):
            complete[i] = judged(value == 1.0, value)
        whole = aggregate(name, rubric, complete, soft=soft)
        assert whole.value is not None
        assert whole.status == "ok"
        values.append(whole.value)
    assert found.bounds == (min(values), max(values))


@given(NAMES, cases(), st.booleans(), st.integers(0, 6), st.floats(0, 1), st.sampled_from(RULES))
def test_a_better_verdict_never_lowers_anything(
    name: str, case: Case, soft: bool, at: int, p: float, rule: Unjudged
) -> None:
    rubric, judgements = case
    at %= len(rubric)
    before = judgements[at].p
    assume(rubric[at].counted)
    low, high = sorted((p if before is None else before, p))
    worse, better = (low, high) if rubric[at].wanted else (high, low)
    sides = []
    for value in (worse, better):
        changed = [*judgements[:at], judged(value >= 0.5, value), *judgements[at + 1 :]]
        sides.append(aggregate(name, rubric, changed, soft=soft, min_coverage=0, unjudged=rule))
    for found in sides:
        assert found.value is not None
        assert found.bounds is not None
    numbers = [(found.value or 0.0, *(found.bounds or ())) for found in sides]
    assert all(left <= right for left, right in zip(*numbers, strict=True))


@given(NAMES, cases(), st.booleans(), st.floats(0, 1), st.randoms(use_true_random=False))
def test_order_does_not_matter(name: str, case: Case, soft: bool, min_coverage: float, random: Random) -> None:
    pairs = list(zip(*case, strict=True))
    random.shuffle(pairs)
    shuffled = ([c for c, _ in pairs], [j for _, j in pairs])
    options: dict[str, Any] = {"soft": soft, "min_coverage": min_coverage, "unjudged": "middle"}
    before, after = (aggregate(name, *each, **options) for each in (case, shuffled))
    assert before == after


@given(NAMES, cases(), st.booleans(), st.floats(0, 1))
def test_a_score_is_a_number_exactly_if_enough_was_judged(
    name: str, case: Case, soft: bool, min_coverage: float
) -> None:
    found = aggregate(name, *case, soft=soft, min_coverage=min_coverage, unjudged="lower")
    oks = [j.ok for c, j in zip(*case, strict=True) if c.counted]
    assert (found.value is not None) == (any(oks) and found.coverage >= min_coverage - 1e-9)
    assert found.status == ("ok" if all(oks) else "partial" if any(oks) else "failed")
    if all(oks):
        assert found.coverage == 1
