"""Intervals cover the true mean, and a verdict needs the whole interval on one side of the limit."""

import pytest

from trainer_client.audit.effects import Effect, Measure, Placed, estimate, verdict_of, worst_of

NEAR = Measure("m", "about", 0.05, "near zero")
LOW = Measure("m", "about", 0.2, "low")
HIGH = Measure("m", "about", 0.9, "high")


def _placed(values: list[float | None], groups: int) -> list[Placed]:
    return [Placed(Effect("m", value, str(n)), f"row {n}", str(n % groups)) for n, value in enumerate(values)]


def test_the_interval_is_of_whole_prompts() -> None:
    within, between = (
        estimate(NEAR, [Placed(Effect("m", value), str(n), str(n // 2)) for n, value in enumerate(values)])
        for values in ([float(n % 2) for n in range(40)], [float(n // 2 % 2) for n in range(40)])
    )
    assert (within.low, within.mean, within.high, within.why) == (None, 0.5, None, "no_spread")
    assert within.verdict == "fail", "of what never varies the value itself is compared"
    assert between.mean == 0.5
    assert between.low is not None and between.low < 0.35 and between.high is not None and between.high > 0.65


@pytest.mark.parametrize(
    "measure, low, high, verdict",
    [
        (NEAR, -0.04, 0.05, "pass"),
        (NEAR, -0.04, 0.06, "warn"),
        (NEAR, 0.06, 0.2, "fail"),
        (NEAR, -0.2, -0.06, "fail"),
        (LOW, 0.0, 0.2, "pass"),
        (LOW, 0.1, 0.3, "warn"),
        (LOW, 0.21, 0.3, "fail"),
        (HIGH, 0.9, 1.0, "pass"),
        (HIGH, 0.8, 1.0, "warn"),
        (HIGH, 0.5, 0.89, "fail"),
    ],
)
def test_a_verdict_needs_the_whole_interval(measure: Measure, low: float, high: float, verdict: str) -> None:
    assert verdict_of(measure, low, high) == verdict


def test_too_few_prompts_decide_nothing() -> None:
    assert estimate(LOW, _placed([0.0] * 18, groups=9)).verdict == "warn"
    assert estimate(LOW, _placed([0.0] * 20, groups=10)).verdict == "pass"
    assert estimate(LOW, _placed([1.0] * 18, groups=9)).verdict == "warn"


def test_what_was_not_judged_is_counted_and_enters_no_mean() -> None:
    found = estimate(LOW, _placed([0.5, None, 0.25, None], groups=4))
    assert (found.mean, found.pairs, found.missing) == (0.375, 2, 2)
    none = estimate(LOW, _placed([None], groups=1))
    assert (none.mean, none.low, none.missing, none.verdict) == (None, None, 1, "not run")


def test_the_extremes_are_the_worst_beyond_the_limit() -> None:
    found = estimate(HIGH, _placed([1.0, 0.0, 0.5, 0.95, 0.2], groups=5))
    assert [one.effect.value for one in found.extremes] == [0.0, 0.2, 0.5]
    assert estimate(LOW, _placed([0.1, 0.2], groups=2)).extremes == ()


def test_the_worst_verdict_counts() -> None:
    assert worst_of(["pass", "warn", "not run"]) == "warn"
    assert worst_of(["pass", "fail"]) == "fail"
    assert worst_of(["not run"]) == worst_of([]) == "not run"
