"""Draws lines and intervals as SVG text that takes its colours from the page that holds it.

A figure can be read without its page's script, which adds the values under the pointer and other smoothing.

Guarantees: a step without a value is a gap and not a zero. No chart loads anything from outside of itself. Every chart
says in words what it shows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from trainer_client.pages import assembly
from trainer_client.pages.document import in_a_script, number

Points = Sequence[tuple[float, float | None]]
COLOURS = ("one", "two", "three", "four", "five", "six")
"""The colours of lines, by the names that they have in the page."""
_ENOUGH = 40
"""Values from which on a line is smoothed, each by a fortieth of all to each side."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 530.0, 8.0, 190.0
_MOST_DIGITS = 6
"""Behind the point of a tick. Smaller steps are written with an exponent."""
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a figure, in one of `COLOURS`."""

    name: str
    colour: str
    points: Points

    @property
    def values(self) -> list[float]:
        return [value for _, value in self.points if value is not None and math.isfinite(value)]


@dataclass(frozen=True, slots=True)
class _Axes:
    """What the figure covers, and where it is drawn."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> str:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return f"{_LEFT + across * (_RIGHT - _LEFT):.1f},{_BOTTOM - up * (_BOTTOM - _TOP):.1f}"


def script() -> str:
    """The script that shows values under the pointer and smooths figures."""
    return assembly.script(Path(__file__).parent, "charts.js")


def figure(
    heading: str, drawn: Sequence[Line], *, low: float | None = None, high: float | None = None, across: str = "batch"
) -> str:
    """A chart with its key. The axis covers at least `low` to `high`; `across` names what the points are placed by."""
    axes = _axes(drawn, low, high)
    lines = "".join(_path(line, axes, place) for place, line in enumerate(drawn))
    svg = (
        f'<svg viewBox="0 0 540 226" role="img" aria-label="{escape(_in_words(heading, drawn, across))}">'
        f"{_grid(axes, across)}{lines}</svg>"
    )
    key = "".join(f'<span><i style="background:var(--{line.colour})"></i>{escape(line.name)}</span>' for line in drawn)
    told = {
        "across": across,
        "box": [_LEFT, _RIGHT, _TOP, _BOTTOM],
        "x": axes.x,
        "y": axes.y,
        "lines": [{"name": line.name, "colour": line.colour, "points": _finite(line.points)} for line in drawn],
    }
    data = f'<script type="application/json">{in_a_script(told)}</script>'
    return f'<figure class="plot">{svg}<figcaption class="key">{key}</figcaption>{data}</figure>'


def smoothed(values: Sequence[float], reach: int | None = None) -> list[float]:
    """For each value the mean of the values around it, so many to each side or a fortieth of all; gaps stay gaps."""
    reach = max(len(values) // _ENOUGH, 1) if reach is None else reach
    found = []
    for place, value in enumerate(values):
        near = [one for one in values[max(place - reach, 0) : place + reach + 1] if not math.isnan(one)]
        found.append(math.nan if math.isnan(value) else sum(near) / len(near))
    return found


def _finite(points: Points) -> list[tuple[float, float | None]]:
    return [(x, y if y is not None and math.isfinite(y) else None) for x, y in points]


def _axes(drawn: Sequence[Line], low: float | None, high: float | None) -> _Axes:
    across = [x for line in drawn for x, _ in line.points] or [0.0]
    values = [value for line in drawn for value in line.values] or [0.0]
    bottom, top = min(values), max(values)
    bottom, top = min(bottom, low if low is not None else bottom), max(top, high if high is not None else top)
    if bottom == top:
        bottom, top = bottom - (low is None) * 0.5, top + 0.5
    step = _step(top - bottom, 5)
    y = (math.floor(bottom / step + 1e-9) * step, math.ceil(top / step - 1e-9) * step)
    return _Axes((min(across), max(across) if max(across) > min(across) else min(across) + 1), y)


def _step(span: float, most: int) -> float:
    """A round step of which at most so many fit into the span."""
    size = 10.0 ** math.floor(math.log10(span / most))
    return next(size * one for one in _ROUND if span / (size * one) <= most + 1e-9)


def _grid(axes: _Axes, across: str) -> str:
    step, found = _step(axes.y[1] - axes.y[0], 5), []
    for n in range(round((axes.y[1] - axes.y[0]) / step) + 1):
        value = axes.y[0] + n * step
        y = axes.at(axes.x[0], value).split(",")[1]
        found.append(f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}"/>')
        found.append(f'<text x="{_LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{_tick(value, step)}</text>')
    step = max(_step(axes.x[1] - axes.x[0], 7), 1.0)
    first = math.ceil(axes.x[0] / step)
    for n in range(first, math.floor(axes.x[1] / step + 1e-9) + 1):
        x = axes.at(n * step, axes.y[0]).split(",")[0]
        found.append(f'<text x="{x}" y="{_BOTTOM + 16}" text-anchor="middle">{_tick(n * step, step)}</text>')
    found.append(f'<text x="{(_LEFT + _RIGHT) / 2}" y="{_BOTTOM + 32}" text-anchor="middle">{escape(across)}</text>')
    return "".join(found)


def _tick(value: float, step: float) -> str:
    if step >= 1:
        return f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")
    digits = max(0, math.ceil(-math.log10(step) - 1e-9))
    if digits > _MOST_DIGITS:
        return f"{value:.2g}".replace("-", "\N{MINUS SIGN}")
    return number(value, digits if round(step * 10**digits, 6) % 1 == 0 else digits + 1)


def _path(line: Line, axes: _Axes, place: int) -> str:
    values = [math.nan if value is None or not math.isfinite(value) else value for _, value in line.points]
    across, count = [x for x, _ in line.points], len(line.values)
    paint = f'style="stroke:var(--{line.colour})"'
    dots = ""
    if count < 2 or count * 3 < len(values):  # lines alone would hide values that have no neighbour
        places = [axes.at(x, y).split(",") for x, y in zip(across, values, strict=True) if not math.isnan(y)]
        dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.4" style="fill:var(--{line.colour})"/>' for x, y in places)
    raw = _drawn(across, values, axes)
    if count < _ENOUGH:
        return f'{dots}<path class="line" data-line="{place}" d="{raw}" {paint}/>'
    soft = _drawn(across, smoothed(values), axes)
    return f'<path class="raw" d="{raw}" {paint}/><path class="line" data-line="{place}" d="{soft}" {paint}/>{dots}'


def _drawn(across: Sequence[float], values: Sequence[float], axes: _Axes) -> str:
    parts, joined = [], False
    for x, y in zip(across, values, strict=True):
        if not math.isnan(y):
            parts.append(f"{'L' if joined else 'M'}{axes.at(x, y)}")
        joined = not math.isnan(y)
    return "".join(parts)


def _in_words(heading: str, drawn: Sequence[Line], across: str) -> str:
    parts = []
    for line in drawn:
        values = line.values
        if values:
            ends = f"from {number(values[0])} to {number(values[-1])}"
            parts.append(f"{line.name} {ends}, between {number(min(values))} and {number(max(values))}")
    return f"{heading} by {across}: {'; '.join(parts) or 'no value'}."


def spark(points: Points, *, worse: bool = False) -> str:
    """A line of values in 0..1, as small as a word; `worse` where a rise is bad."""
    there = [(step, value) for step, value in points if value is not None]
    if not there:
        return ""
    first, last = points[0][0], points[-1][0]
    width = max(last - first, 1)
    path = " ".join(f"{(step - first) / width * 158 + 1:.1f},{20 - value * 18:.1f}" for step, value in there)
    about = f"from {number(there[0][1], 2)} to {number(there[-1][1], 2)}"
    return (
        f'<svg class="spark{" worse" if worse else ""}" viewBox="0 0 160 22" role="img" aria-label="{about}">'
        f'<polyline fill="none" stroke="currentColor" stroke-width="1.4" points="{path}"/></svg>'
    )


def interval(value: float, low: float, high: float) -> str:
    """A value between 0 and 1 with its interval, as small as a word."""

    def at(one: float) -> float:
        return 3 + min(max(one, 0.0), 1.0) * 114

    return (
        '<svg class="interval" viewBox="0 0 120 14" aria-hidden="true">'
        '<line x1="3" x2="117" y1="7" y2="7" class="grid"/>'
        f'<line x1="{at(0.5):.1f}" x2="{at(0.5):.1f}" y1="2" y2="12" class="grid"/>'
        f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" y1="7" y2="7" class="range"/>'
        f'<circle cx="{at(value):.1f}" cy="7" r="3" class="dot"/></svg>'
    )
