"""Charts are drawn in the page's colours, keep their gaps, and say in words what they show."""

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_client.pages import charts
from trainer_client.pages.charts import Line, figure, smoothed, spark


def _paths(svg: str) -> list[str]:
    return re.findall(r'class="line" data-line="\d+" d="([^"]*)"', svg)


def test_a_step_without_a_value_is_a_gap_in_the_line() -> None:
    whole = figure("Reward", [Line("a", "one", [(n, 0.5) for n in range(9)])])
    gap = figure("Reward", [Line("a", "one", [(n, None if n == 4 else 0.5) for n in range(9)])])
    assert [_paths(svg)[0].count("M") for svg in (whole, gap)] == [1, 2]
    assert "NaN" not in gap and "nan" not in gap
    data = json.loads(gap.split('json">')[1].split("</script>")[0])
    assert data["lines"][0]["points"][4] == [4, None]


def test_a_chart_takes_its_colours_from_the_page() -> None:
    lines = [Line("a", "one", [(1, 0.1), (2, 0.2)]), Line("b", "two", [(1, 0.3), (2, 0.1)])]
    svg = figure("Reward", lines, low=0.0, high=1.0)
    assert "stroke:var(--one)" in svg and "stroke:var(--two)" in svg and not re.search("#[0-9a-f]{3}", svg)
    labels = re.findall(r">([\d.]+)</text>", svg)
    assert "0.0" in labels and "1.0" in labels


def test_a_chart_says_what_it_shows() -> None:
    svg = figure("Reward", [Line("bare <b>", "one", [(1, 0.1), (2, -0.5), (3, 0.3)])], across="step")
    words = "Reward by step: bare &lt;b&gt; from 0.100 to 0.300, between \N{MINUS SIGN}0.500 and 0.300."
    assert f'aria-label="{words}"' in svg and "<b>" not in svg
    assert "no value" in figure("Reward", [Line("a", "one", [(1, None), (2, math.nan)])])


@given(st.lists(st.none() | st.floats(-1e12, 1e12), min_size=1, max_size=60))
def test_every_value_lies_within_the_axes(values: list[float | None]) -> None:
    """100 lines of up to 60 values of any size: of 0 a point lay outside of the axes, or had no tick beside it."""
    svg = figure("Any", [Line("a", "one", list(enumerate(values)))])
    places = [float(one) for one in re.findall(r"[ML][-\d.]+,([-\d.]+)", svg)]
    assert all(8.0 - 0.1 <= y <= 190.0 + 0.1 for y in places)
    assert 2 <= svg.count('text-anchor="end"') <= 8


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0, 60_000.0, ["0", "20,000", "40,000", "60,000"]),
        (-0.25, 1.0, ["\N{MINUS SIGN}0.25", "0.00", "0.25", "0.50", "0.75", "1.00"]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[str]) -> None:
    svg = figure("Any", [Line("a", "one", [(0, low), (1, high)])])
    assert re.findall(r'text-anchor="end">([^<]*)<', svg) == ticks


def test_smoothing_keeps_gaps_and_the_mean() -> None:
    nan = float("nan")
    assert smoothed([1.0, 2.0, 6.0]) == [1.5, 3.0, 4.0]
    found = smoothed([1.0, nan, 3.0])
    assert found[0] == 1.0 and found[1] != found[1] and found[2] == 3.0


def test_a_spark_is_drawn_over_the_whole_run() -> None:
    assert 'points="1.0,20.0 80.0,11.0"' in spark([(0, 0.0), (5, 0.5), (10, None)])
    assert spark([(1, None)]) == ""


def test_an_interval_stays_inside_its_drawing() -> None:
    svg = charts.interval(0.5, -3.0, 7.0)
    assert 'x1="3.0" x2="117.0"' in svg and 'cx="60.0"' in svg


def test_a_spark_says_its_ends() -> None:
    assert 'aria-label="from 0.00 to 0.50"' in spark([(0, 0.0), (5, 0.5)], worse=True) and "spark worse" in spark(
        [(0, 0.0), (5, 0.5)], worse=True
    )
