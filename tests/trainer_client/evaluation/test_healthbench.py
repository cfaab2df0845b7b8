"""HealthBench's numbers against calculations by hand, and against simple-evals' own formulas written out again."""

import math
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import fmean, pstdev

import pytest

from trainer_client.data.rows import read_rows
from trainer_client.evaluation.healthbench import Graded, clipped, metrics, score, summarised

ROWS = Path(__file__).resolve().parents[4] / "shared" / "data" / "healthbench_dev.parquet"


def graded(*points_and_met: tuple[float, bool | None]) -> list[Graded]:
    return [Graded(points, met) for points, met in points_and_met]


def test_a_score_is_points_earned_over_positive_points() -> None:
    assert score(graded((7, True), (5, False), (-8, True), (-2, False))) == (7 - 8) / 12
    assert score(graded((7, False), (-23, True))) == -23 / 7
    assert score(graded((-3, True))) is None, "no positive points"
    assert score(graded((7, True), (-3, None))) is None, "a verdict is missing"


def test_tags_have_the_score_of_their_own_criteria_and_themes_the_overall_one() -> None:
    criteria = [
        Graded(5, True, ("axis:accuracy", "level:example")),
        Graded(5, False, ("axis:completeness", "level:example")),
        Graded(-4, True, ("axis:accuracy",)),
        Graded(-6, True, ("axis:communication_quality",)),
    ]
    assert metrics(criteria, ["theme:hedging"]) == {
        "overall_score": (5 - 4 - 6) / 10,
        "theme:hedging": (5 - 4 - 6) / 10,
        "axis:accuracy": (5 - 4) / 5,
        "axis:completeness": 0.0,
        "level:example": 5 / 10,
    }
    half = [replace(criteria[0], share=0.5), *criteria[1:]]
    assert metrics(half)["axis:accuracy"] == pytest.approx((2.5 - 4) / 5), "a level that is worth a half"
    unknown = [*criteria, Graded(1, None, ("axis:completeness",))]
    assert metrics(unknown) == {"axis:accuracy": 1 / 5, "level:example": 0.5}, "what is known of other tags stays"


def test_the_mean_is_clipped_after_averaging_and_not_before() -> None:
    found = clipped([1.0, -23 / 7])
    assert found is not None and (found.mean, found.n, found.lowest) == (0.0, 2, -23 / 7)
    assert found.unclipped == pytest.approx(-8 / 7)
    assert fmean([1.0, 0.0]) == 0.5, "which clipping each score would give"
    assert clipped([]) is None


def test_the_bootstrap_error_is_of_the_clipped_means() -> None:
    # Of 1 and -1 the resampled means are -1, 0 and 1 with chances 1/4, 1/2, 1/4; clipped 0, 0, 1.
    found = clipped([1.0, -1.0], resamples=40_000)
    assert found is not None and found.error == pytest.approx(math.sqrt(0.25 * 0.75), abs=0.01)
    # Of two values 0 and 0.8 all means are inside: 0, 0.4, 0.8, whose standard deviation is 0.8 / sqrt(8).
    inside = clipped([0.0, 0.8], resamples=40_000)
    assert inside is not None and inside.error == pytest.approx(0.8 / math.sqrt(8), abs=0.01)


def test_the_error_is_that_of_simple_evals_code_on_other_draws() -> None:
    random = Random(5)
    values = [random.uniform(-0.6, 1.0) for _ in range(60)]
    means = [min(max(fmean(random.choices(values, k=60)), 0.0), 1.0) for _ in range(1000)]  # `_compute_clipped_stats`
    found = clipped(values)
    assert found is not None and found.error == pytest.approx(pstdev(means), rel=0.12)
    assert found == clipped(values), "the same seed draws the same"
    assert clipped(values, resamples=7) != found


def test_a_summary_is_of_each_name_over_the_responses_that_have_it() -> None:
    found = summarised([{"overall_score": 0.5, "axis:a": 1.0}, {"overall_score": 0.25}, {}])
    assert (found["overall_score"].mean, found["overall_score"].n) == (0.375, 2)
    assert (found["axis:a"].mean, found["axis:a"].n) == (1.0, 1)


@pytest.mark.skipif(not ROWS.exists(), reason="the rows are not part of the repository")
def test_the_worst_response_to_row_60_of_the_real_rows_scores_minus_23_sevenths() -> None:
    rows = [row.rubric.criteria for row in read_rows(ROWS) if row.rubric is not None]
    worst = [score([Graded(one.worth, one.worth < 0) for one in criteria]) for criteria in rows]
    lowest = min(value for value in worst if value is not None)
    assert (lowest, worst.index(lowest)) == (-23 / 7, 60)
