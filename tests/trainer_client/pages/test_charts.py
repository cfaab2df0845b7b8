import re

from trainer_client.pages import charts
from trainer_client.pages.charts import smoothed, spark


def test_a_step_without_a_value_is_a_gap_in_the_line() -> None:
    whole = charts.lines({"one": [(n, 0.5) for n in range(9)]})
    gap = charts.lines({"one": [(n, None if n == 4 else 0.5) for n in range(9)]})
    drawn = [re.search(r'<path d="([^"]*)"[^>]*stroke: var\(--one\)', svg) for svg in (whole, gap)]
    assert [one.group(1).count("M") if one else 0 for one in drawn] == [1, 2]


def test_a_chart_takes_its_colours_from_the_page() -> None:
    svg = charts.lines({"one": [(1, 0.1), (2, 0.2)], "two": [(1, 0.3), (2, 0.1)]}, low=0.0, high=1.0)
    assert "var(--one)" in svg and "var(--two)" in svg and "var(--soft)" in svg and "#0102" not in svg
    labels = re.findall(r">([\d.]+)</text>", svg)
    assert "0.0" in labels and "1.0" in labels


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
