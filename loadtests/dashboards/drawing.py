"""One panel, by its kind: large numbers, lines, a heat map or a table."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from loadtests.dashboards.panels import Answered
from loadtests.dashboards.queries import Shown, legend
from loadtests.dashboards.theme import GRID, NAMED, PALETTE, TEXT, WEAK
from loadtests.dashboards.units import shown as written
from testkit.prometheus import Series

Place = tuple[float, float, float, float]
Numbers = NDArray[np.float64]
_LETTER, _LINE = 5.6, 13
"""Pixels: a letter of a legend, and a line of it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series on the panel's times; NaN where there is nothing. `unit` is its axis's."""

    name: str
    values: Numbers
    right: bool
    unit: str
    colour: str


def draw_panel(figure: Figure, place: Place, size: tuple[float, float], answer: Answered, shown: Shown) -> None:
    """`place` is the panel's in the figure, `size` its width and height in pixels."""
    kind = answer.panel.drawn["type"]
    if kind == "table":
        return _table(figure.add_axes(place), size, answer)
    lines = _lines(answer, shown)
    if not lines:
        return _nothing(figure.add_axes(place))
    if kind == "stat":
        return _stat(figure, place, answer, lines)
    if kind == "heatmap":
        return _heat(figure.add_axes(_inner(place, size, 52, 30, 14, 26)), lines, shown)
    return _time_series(figure, place, size, answer, lines, shown)


def _nothing(axes: Axes) -> None:
    axes.axis("off")
    axes.text(0.5, 0.5, "No data", transform=axes.transAxes, color=WEAK, fontsize=11, ha="center", va="center")


def _times(shown: Shown) -> Numbers:
    return np.arange(shown.start, shown.end + 1e-6, shown.step_s, dtype=np.float64)


def _lines(answer: Answered, shown: Shown) -> list[Line]:
    times, found = _times(shown), list[Line]()
    for asked, series in zip(answer.panel.queries, answer.found, strict=True):
        override = _overrides(answer.panel.drawn, asked.name)
        unit = override.get("unit", _defaults(answer.panel.drawn).get("unit", "short"))
        right = override.get("custom.axisPlacement") == "right"
        for one in series:
            colour = PALETTE[len(found) % len(PALETTE)]
            found.append(Line(legend(asked.legend, one.labels), _on(times, one, shown.step_s), right, unit, colour))
    return found


def _on(times: Numbers, series: Series, step_s: float) -> Numbers:
    values = np.full(len(times), np.nan)
    for at, value in series.points:
        values[round((at - times[0]) / step_s)] = value if math.isfinite(value) else np.nan
    return values


def _defaults(drawn: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = drawn.get("fieldConfig", {}).get("defaults", {})
    return found


def _overrides(drawn: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What is set for one query, or for one column."""
    rules = drawn.get("fieldConfig", {}).get("overrides", [])
    return {p["id"]: p["value"] for rule in rules if rule["matcher"]["options"] == name for p in rule["properties"]}


def _inner(place: Place, size: tuple[float, float], left: float, top: float, right: float, bottom: float) -> Place:
    """Within the margins, in pixels."""
    (x, y, w, h), (width, height) = place, size
    return (
        x + left / width * w,
        y + bottom / height * h,
        (1 - (left + right) / width) * w,
        (1 - (top + bottom) / height) * h,
    )


def _stat(figure: Figure, place: Place, answer: Answered, lines: Sequence[Line]) -> None:
    """The last values; behind them how they came about."""
    defaults = _defaults(answer.panel.drawn)
    x, y, w, h = place
    for n, line in enumerate(lines):
        axes = figure.add_axes((x + w * n / len(lines), y, w / len(lines), h * 0.8))
        axes.axis("off")
        present = line.values[np.isfinite(line.values)]
        last = float(present[-1]) if len(present) else math.nan
        colour = _threshold(defaults["thresholds"]["steps"], last)
        axes.text(0.5, 0.52, written(last, line.unit, defaults.get("decimals")), transform=axes.transAxes, color=colour,
                  fontsize=20 if len(lines) == 1 else 17, ha="center", va="center", weight="bold")  # fmt: skip
        if len(lines) > 1:
            axes.text(0.5, 0.86, line.name, transform=axes.transAxes, color=WEAK, fontsize=8, ha="center", va="center")
        top = float(np.nanmax(line.values)) if len(present) else 1.0
        axes.fill_between(np.arange(len(line.values)), line.values, color=colour, alpha=0.18, linewidth=0)
        axes.set(xlim=(0, len(line.values) - 1), ylim=(0, 3.2 * top or 1))


def _threshold(steps: Sequence[Mapping[str, Any]], value: float) -> str:
    """The colour of the last step that is not above the value."""
    reached = [step["color"] for step in steps if step.get("value") is None or value >= step["value"]]
    return NAMED[reached[-1]] if reached else TEXT


def _time_series(
    figure: Figure, place: Place, size: tuple[float, float], answer: Answered, lines: list[Line], shown: Shown
) -> None:
    drawn = answer.panel.drawn
    rows = _legend_rows(lines, size[0])
    has_right = any(line.right for line in lines)
    axes = figure.add_axes(_inner(place, size, 58, 32, 50 if has_right else 14, 26 + _LINE * len(rows)))
    stacking = _defaults(drawn)["custom"]["stacking"]["mode"]
    times = _times(shown)
    left = [line for line in lines if not line.right]
    _fill(axes, times, left, stacking)
    _style(axes, "percentunit" if stacking == "percent" else _defaults(drawn).get("unit", "short"), shown)
    top = 1.0 if stacking == "percent" else _defaults(drawn).get("max")
    steps = _defaults(drawn).get("thresholds", {}).get("steps", [])
    if "thresholdsStyle" in _defaults(drawn)["custom"]:
        axes.axhline(steps[-1]["value"], color=NAMED[steps[-1]["color"]], linewidth=1)
    least = _defaults(drawn)["custom"].get("axisSoftMax", 1e-9)
    axes.set_ylim(0, top if top is not None else max(least, axes.get_ylim()[1]))
    if has_right:
        other = axes.twinx()
        right = [line for line in lines if line.right]
        _fill(other, times, right, "none", alpha=0.0)
        _style(other, right[0].unit, shown)
        other.grid(False)
        other.set_ylim(0, max(1e-9, other.get_ylim()[1]))
    _legend(figure, place, size, rows)


def _fill(axes: Axes, times: Numbers, lines: Sequence[Line], stacking: str, alpha: float = 0.08) -> None:
    if stacking == "none":
        for line in lines:
            axes.plot(times, line.values, color=line.colour, linewidth=1.1)
            axes.fill_between(times, line.values, color=line.colour, alpha=alpha, linewidth=0)
        return
    values = np.array([np.nan_to_num(line.values) for line in lines])
    if stacking == "percent":
        sums = values.sum(axis=0)
        values = np.divide(values, sums, out=np.zeros_like(values), where=sums > 0)
    tops = np.cumsum(values, axis=0)
    for line, top, own in zip(lines, tops, values, strict=True):
        axes.fill_between(times, top - own, top, color=line.colour, alpha=0.4, linewidth=0)
        axes.plot(times, top, color=line.colour, linewidth=1.1)


def _style(axes: Axes, unit: str, shown: Shown) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=WEAK, labelsize=7.5, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: time.strftime("%H:%M:%S", time.gmtime(at))))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlim(shown.start, shown.end)


def _legend_rows(lines: Sequence[Line], width: float) -> list[list[tuple[float, Line]]]:
    """The lines' names with their distance from the left, in as many rows as they need."""
    rows: list[list[tuple[float, Line]]] = [[]]
    x = 12.0
    for line in lines:
        wide = 24 + _LETTER * len(line.name)
        if x + wide > width and rows[-1]:
            rows.append([])
            x = 12.0
        rows[-1].append((x, line))
        x += wide
    return rows


def _legend(
    figure: Figure, place: Place, size: tuple[float, float], rows: Sequence[Sequence[tuple[float, Line]]]
) -> None:
    axes = figure.add_axes(place)
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axes.axis("off")
    for n, row in enumerate(rows):
        y = 10 + _LINE * (len(rows) - 1 - n)
        for x, line in row:
            axes.plot([x, x + 11], [y, y], color=line.colour, linewidth=2.5, solid_capstyle="butt")
            axes.text(x + 15, y, line.name, color=TEXT, fontsize=7.5, va="center_baseline")


def _heat(axes: Axes, lines: Sequence[Line], shown: Shown) -> None:
    """Each line is a bucket that holds those below it: what is drawn are the differences."""
    ordered = sorted(lines, key=lambda line: float(line.name))
    counts = np.diff(np.array([np.nan_to_num(line.values) for line in ordered]), axis=0, prepend=0)
    counts[counts <= 0] = np.nan
    times = _times(shown)
    edges = np.append(times, times[-1] + shown.step_s) - shown.step_s / 2
    axes.pcolormesh(edges, np.arange(len(ordered) + 1), counts, cmap="inferno", edgecolors="none")
    _style(axes, "short", shown)
    axes.set_yticks(np.arange(len(ordered)) + 1, [line.name for line in ordered], fontsize=6.5)
    axes.grid(False)


def _table(axes: Axes, size: tuple[float, float], answer: Answered) -> None:
    """A row for each set of labels; columns are those labels and the queries, by their legends."""
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    axes.axis("off")
    labels = sorted({name for found in answer.found for one in found for name in one.labels})
    columns = [*labels, *(asked.legend for asked in answer.panel.queries)]
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for asked, found in zip(answer.panel.queries, answer.found, strict=True):
        unit = _overrides(answer.panel.drawn, asked.legend).get("unit", "short")
        for one in found:
            row = rows.setdefault(tuple(one.labels.get(name, "") for name in labels), {})
            row[asked.legend] = written(one.points[-1][1], unit)
    wide = (size[0] - 24) / len(columns)
    for place, column in enumerate(columns):
        axes.text(12 + place * wide, 44, column, color="#6e9fff", fontsize=8.5, va="center", weight="bold")
    for n, (key, row) in enumerate(sorted(rows.items())):
        y = 72 + 26 * n
        axes.axhline(y - 13, color=GRID, linewidth=0.8, xmin=0.01, xmax=0.99)
        cells = [*key, *(row.get(asked.legend, "") for asked in answer.panel.queries)]
        for place, cell in enumerate(cells):
            axes.text(12 + place * wide, y, cell, color=TEXT, fontsize=8.5, va="center")
