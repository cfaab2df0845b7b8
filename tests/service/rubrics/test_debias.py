"""Scores that are corrected for a judge's known errors: right on average, with bounds that hold."""

import itertools
import math
from dataclasses import dataclass
from random import Random
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.rubrics.aggregation import Score, aggregate
from service.rubrics.debias import LINEAR, ErrorRates, Rates, check_rates, most_error
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Category, Criterion
from trainer_client import wire
from trainer_client.formulas import Aggregation

MEAN = Aggregation("mean")


def known(false_positive: float, false_negative: float, half: float = 0.0) -> ErrorRates:
    most = (min(false_positive + half, 1.0), min(false_negative + half, 1.0))
    return ErrorRates(false_positive, false_negative, *most, 1 - false_positive - false_negative - 2 * half)


def judged(met: bool) -> Judgement:
    return Judgement("ok", "judge", met=met, p=float(met))


def score(name: str, criteria: list[Criterion], met: list[bool], rates: Rates | None = None) -> Score:
    return aggregate(Aggregation(name), criteria, [judged(one) for one in met], rates=rates)


@dataclass(frozen=True)
class Response:
    criteria: list[Criterion]
    truth: list[bool]
    said: list[bool]


def response(random: Random, rates: dict[str, tuple[float, float]]) -> Response:
    """2 to 15 criteria of an exact judge into which errors are injected."""
    category: Category = "essential"
    points = [random.choice((-8, -3, 1, 2, 5, 10)) for _ in range(random.randint(2, 15))]
    share = random.choice((0.0, random.random(), 1.0))  # with none met, or all, errors go one way alone
    truth = [random.random() < share for _ in points]
    said = []
    for weight, met in zip(points, truth, strict=True):
        false_positive, false_negative = rates["positive" if weight > 0 else "negative"]
        said.append(met is not (random.random() < (false_negative if met else false_positive)))
    criteria = [Criterion(str(n), "Says so.", float(weight), category) for n, weight in enumerate(points)]
    return Response(criteria, truth, said)


def estimated(random: Random, rates: dict[str, tuple[float, float]], rows: int) -> Rates:
    """As a certificate has them: of `rows` met and as many unmet criteria, with intervals of 95 % (Wilson's)."""
    found: dict[str, ErrorRates] = {}
    for sign, both in rates.items():
        shares, most = [], []
        for rate in both:
            share = sum(random.random() < rate for _ in range(rows)) / rows
            half = 1.96 * math.sqrt(share * (1 - share) / rows + 1.96**2 / (4 * rows**2))
            shares.append(share)
            most.append((share + 1.96**2 / (2 * rows) + half) / (1 + 1.96**2 / rows))
        found[sign] = ErrorRates(shares[0], shares[1], most[0], most[1], 0.1)
    return {"positive": found["positive"], "negative": found["negative"]}


INJECTED = [
    {"positive": (0.05, 0.05), "negative": (0.05, 0.3)},
    {"positive": (0.1, 0.2), "negative": (0.2, 0.1)},
    {"positive": (0.3, 0.05), "negative": (0.3, 0.3)},
]


@pytest.mark.parametrize("rates", INJECTED)
@pytest.mark.parametrize("name", LINEAR)
def test_with_5_to_30_percent_of_errors_the_score_is_right_on_average_and_its_bounds_hold(
    name: str, rates: dict[str, tuple[float, float]]
) -> None:
    """1,000 responses, each with rates from a certificate of its own, over 300 met and 300 unmet criteria a sign."""
    random = Random(f"{name} {rates}")
    corrected, held = [], 0
    for _ in range(1000):
        one = response(random, rates)
        right = score(name, one.criteria, one.truth).value
        found = score(name, one.criteria, one.said, estimated(random, rates, 300))
        assert right is not None and found.value is not None and found.bounds is not None
        corrected.append(found.value - right)
        held += found.bounds[0] <= right + 1e-9 and right <= found.bounds[1] + 1e-9
    assert abs(fmean(corrected)) < 3.3 * stdev(corrected) / 1000**0.5
    assert held >= 950


def test_without_the_correction_the_same_errors_shift_the_score() -> None:
    """So the test above can fail."""
    random, rates = Random(0), INJECTED[2]
    shifts = []
    for _ in range(2000):
        one = response(random, rates)
        raw, right = (score("mean", one.criteria, met).value for met in (one.said, one.truth))
        assert raw is not None and right is not None
        shifts.append(raw - right)
    assert abs(fmean(shifts)) > 5 * stdev(shifts) / 2000**0.5


parts = st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=8)


@given(parts)
def test_the_sum_of_errors_is_exceeded_as_rarely_as_it_says(found: list[tuple[float, float]]) -> None:
    """Against all 2^n cases."""
    limit, beyond = most_error(found), 0.0
    for case in itertools.product((False, True), repeat=len(found)):
        total = math.fsum(size for (size, _), counts in zip(found, case, strict=True) if counts)
        p = math.prod(rate if counts else 1 - rate for (_, rate), counts in zip(found, case, strict=True))
        beyond += p if total > limit + 1e-9 else 0.0
    assert beyond <= 0.025 + 1e-9


def test_many_different_sizes_are_rounded_up_and_cost_little_accuracy() -> None:
    random = Random(3)
    found = [(random.random(), 0.1) for _ in range(200)]
    drawn = sorted(math.fsum(size for size, rate in found if random.random() < rate) for _ in range(20_000))
    exact = drawn[int(0.975 * len(drawn))]
    assert exact * 0.98 <= most_error(found) <= exact + 0.05 * math.fsum(size for size, _ in found)


def test_figures_that_are_known() -> None:
    criteria = [Criterion("0", "Says so.", 2.0), Criterion("1", "Says not.", -1.0)]
    rates: Rates = {"positive": known(0.1, 0.2), "negative": known(0.05, 0.05)}
    found = score("healthbench", criteria, [True, True], rates)
    assert found.value == pytest.approx((2 * 0.9 / 0.7 - 0.95 / 0.9) / 2)
    assert score("mean", criteria, [True, False], rates).value == pytest.approx((0.9 / 0.7 + 1 + 0.05 / 0.9) / 2)
    assert found.bounds == (-0.5, 1.0)  # both verdicts may be wrong, each with 5 % or more


def test_a_rule_and_a_monitor_are_not_corrected() -> None:
    criteria = [Criterion("0", "Says so.", 1.0), Criterion("1", "Is so.", 1.0), Criterion("2", "Watched.", 0.0)]
    by_rule = Judgement("ok", "rule", met=True, p=1.0)
    rates: Rates = {"positive": known(0.1, 0.1), "negative": None}
    found = aggregate(MEAN, criteria, [judged(False), by_rule, judged(True)], rates=rates)
    assert found.value == pytest.approx((1 - 0.1 / 0.8) / 2)
    assert found.bounds == (0.5, 1.0)
    assert aggregate(MEAN, criteria[1:2], [by_rule], rates=rates) == aggregate(MEAN, criteria[1:2], [by_rule])


def test_what_was_judged_in_part_has_wider_bounds_and_a_score_between_them() -> None:
    criteria = [Criterion(str(n), "Says so.", 1.0) for n in range(4)]
    judgements = [judged(True), judged(False), judged(True), Judgement("timeout", "judge")]
    rates: Rates = {"positive": known(0.2, 0.2), "negative": None}
    plain = aggregate(MEAN, criteria, judgements, min_coverage=0.5, unjudged="lower")
    found = aggregate(MEAN, criteria, judgements, min_coverage=0.5, unjudged="lower", rates=rates)
    assert plain.bounds is not None and found.bounds is not None
    assert found.bounds[0] < plain.bounds[0] and found.bounds[1] >= plain.bounds[1]
    assert (found.value, found.status) == (found.bounds[0], "partial")
    none = aggregate(MEAN, criteria[3:], judgements[3:], rates=rates)
    assert (none.value, none.bounds, none.status) == (None, (0.0, 1.0), "failed")


@pytest.mark.parametrize(
    ("rates", "why"),
    [
        (None, "no rates"),
        (known(0.45, 0.4), "0.15"),
        (known(0.3, 0.3, half=0.3), "surely more than 0"),
    ],
)
def test_a_judge_that_is_too_weak_or_unknown_corrects_nothing(rates: ErrorRates | None, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why) as refused:
        check_rates({"positive": rates}, ["positive"])
    assert refused.value.errors[0][0] == ("debias",)
    check_rates({"positive": rates, "negative": known(0.1, 0.1)}, ["negative"])


def test_the_aggregations_are_those_of_the_wire() -> None:
    assert LINEAR == wire.LINEAR
