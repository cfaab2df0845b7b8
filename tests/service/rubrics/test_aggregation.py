"""Scores against hand computation, and what must hold for every rubric (law 1)."""

import itertools
import math
import sys
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.rubrics.aggregation import Score, Unjudged, aggregate
from service.rubrics.judgement import Judgement
from tests.service.rubrics.cases import RULES, UNJUDGED, Case, aggregations, cases, criterion, judged, score
from trainer_client.formulas import AGGREGATIONS, Aggregation


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_without_a_counted_criterion_there_is_no_score(name: str) -> None:
    nothing = Score(value=None, bounds=None, coverage=1.0, status="ok")
    assert aggregate(Aggregation(name), [], []) == nothing
    assert aggregate(Aggregation(name), [criterion(0.0), criterion(-0.0)], [UNJUDGED, judged(True)]) == nothing


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_a_monitor_enters_nothing(name: str) -> None:
    rubric = [criterion(3, "important"), criterion(0, "essential"), criterion(-2, "pitfall")]
    for monitored in (judged(True), judged(False), UNJUDGED):
        found = aggregate(Aggregation(name), rubric, [judged(True), monitored, judged(False)])
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


@given(aggregations(), st.data())
def test_a_score_of_a_part_is_its_lower_bound_or_the_middle(chosen: Aggregation, data: st.DataObject) -> None:
    case, soft, least = data.draw(cases()), data.draw(st.booleans()), data.draw(st.floats(0, 1))
    found = {rule: aggregate(chosen, *case, soft=soft, min_coverage=least, unjudged=rule) for rule in (None, *RULES)}
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
        aggregate(Aggregation("mean"), [criterion(1), criterion(1)], [judged(True)])
    with pytest.raises(ValueError, match="no verdict"):
        aggregate(Aggregation("mean"), [criterion(1)], [Judgement(status="ok", source="judge", p=0.5)])
    for p in (math.nan, -0.1, 1.1, math.inf):
        with pytest.raises(ValueError, match="not a probability"):
            aggregate(Aggregation("mean"), [criterion(1)], [judged(True, p)], soft=True)


@given(aggregations(), cases(), st.booleans(), st.floats(0, 1))
def test_every_number_is_finite_and_in_its_range(
    chosen: Aggregation, case: Case, soft: bool, min_coverage: float
) -> None:
    found = aggregate(chosen, *case, soft=soft, min_coverage=min_coverage, unjudged="middle")
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
    assert chosen.name == "healthbench" or low >= 0


@given(aggregations(), cases(), st.booleans())
def test_every_completion_lies_within_the_bounds_and_both_ends_are_attained(
    chosen: Aggregation, case: Case, soft: bool
) -> None:
    rubric, judgements = case
    found = aggregate(chosen, rubric, judgements, soft=soft)
    assume(found.bounds is not None)
    missing = [i for i, (c, j) in enumerate(zip(rubric, judgements, strict=True)) if c.counted and not j.ok]
    values = []
    for completion in itertools.product((0.0, 1.0), repeat=len(missing)):
        complete = list(judgements)
        for i, value in zip(missing, completion, strict=True):
            complete[i] = judged(value == 1.0, value)
        whole = aggregate(chosen, rubric, complete, soft=soft)
        assert whole.value is not None
        assert whole.status == "ok"
        values.append(whole.value)
    assert found.bounds == (min(values), max(values))


@given(aggregations(), cases(), st.booleans(), st.integers(0, 6), st.floats(0, 1), st.sampled_from(RULES))
def test_a_better_verdict_never_lowers_anything(
    chosen: Aggregation, case: Case, soft: bool, at: int, p: float, rule: Unjudged
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
        sides.append(aggregate(chosen, rubric, changed, soft=soft, min_coverage=0, unjudged=rule))
    for found in sides:
        assert found.value is not None
        assert found.bounds is not None
    numbers = [(found.value or 0.0, *(found.bounds or ())) for found in sides]
    assert all(left <= right for left, right in zip(*numbers, strict=True))


@given(aggregations(), cases(), st.booleans(), st.floats(0, 1), st.randoms(use_true_random=False))
def test_order_does_not_matter(
    chosen: Aggregation, case: Case, soft: bool, min_coverage: float, random: Random
) -> None:
    pairs = list(zip(*case, strict=True))
    random.shuffle(pairs)
    shuffled = ([c for c, _ in pairs], [j for _, j in pairs])
    options: dict[str, Any] = {"soft": soft, "min_coverage": min_coverage, "unjudged": "middle"}
    before, after = (aggregate(chosen, *each, **options) for each in (case, shuffled))
    assert before == after


@given(aggregations(), cases(), st.booleans(), st.floats(0, 1))
def test_a_score_is_a_number_exactly_if_enough_was_judged(
    chosen: Aggregation, case: Case, soft: bool, min_coverage: float
) -> None:
    found = aggregate(chosen, *case, soft=soft, min_coverage=min_coverage, unjudged="lower")
    oks = [j.ok for c, j in zip(*case, strict=True) if c.counted]
    assert (found.value is not None) == (any(oks) and found.coverage >= min_coverage - 1e-9)
    assert found.status == ("ok" if all(oks) else "partial" if any(oks) else "failed")
    if all(oks):
        assert found.coverage == 1
