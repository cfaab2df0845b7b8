"""Draws lines and intervals as SVG text that takes its colours from the page that holds it.

Guarantees: a step without a value is a gap and not a zero. No chart loads anything from outside of itself.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

# Placeholders for the page's own colours, which matplotlib does not know.
_INK, _SOFT, _LINE = "#010203", "#010204", "#010205"
_PAINT = {
    _INK: "currentColor",
    _SOFT: "var(--soft)",
    _LINE: "var(--line)",
    "#010206": "var(--one)",
    "#010207": "var(--two)",
    "#010208": "var(--three)",
}
COLOURS = {name: f"var(--{name})" for name in ("one", "two", "three")}
_STAND_INS = {"one": "#010206", "two": "#010207", "three": "#010208"}
_ENOUGH = 40

Points = Sequence[tuple[float, float | None]]


def lines(
    series: Mapping[str, Points], *, low: float | None = None, high: float | None = None, across: str = "batch"
) -> str:
    """Returns a chart of at most three series, by colour name. With many points the mean of each and its neighbours is
    drawn over them. The axis covers at least `low` to `high`; `across` names what the points are placed by."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "rubricd", "font.size": 9}):
        figure = Figure(figsize=(5.4, 2.5), layout="constrained")
        axes = figure.subplots()
        for colour, points in series.items():
            _draw(axes, points, _STAND_INS[colour])
        _dress(axes, low, high, across)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None})
    return _inline(out.getvalue())


def _draw(axes: Any, points: Points, colour: str) -> None:
    steps = [step for step, _ in points]
    values = [math.nan if value is None else value for _, value in points]
    there = [value for value in values if not math.isnan(value)]
    marker = "o" if len(there) < 2 or len(there) * 3 < len(values) else ""
    if len(there) < _ENOUGH:
        axes.plot(steps, values, color=colour, linewidth=1.6, marker=marker, markersize=3, clip_on=False)
        return
    axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.3)
    axes.plot(steps, smoothed(values), color=colour, linewidth=1.8, clip_on=False)


def smoothed(values: Sequence[float]) -> list[float]:
    """For each value the mean of the values around it, a fortieth of all to each side; gaps stay gaps."""
    reach = max(len(values) // _ENOUGH, 1)
    found = []
    for place, value in enumerate(values):
        near = [one for one in values[max(place - reach, 0) : place + reach + 1] if not math.isnan(one)]
        found.append(math.nan if math.isnan(value) else sum(near) / len(near))
    return found


def _dress(axes: Any, low: float | None, high: float | None, across: str) -> None:
    data = axes.dataLim
    bottom, top = axes.get_ylim()
    if low is not None:
        bottom = low if data.y0 >= low else bottom
    if high is not None:
        top = high if data.y1 <= high else top
    axes.set_ylim(bottom, top if top > bottom else bottom + 1.0)
    axes.set_xlabel(across, color=_SOFT)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.tick_params(colors=_SOFT, length=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_LINE)


def _inline(svg: str) -> str:
    """The svg element alone, in the page's colours and scaled by its box."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', svg, count=1)
    for stand_in, paint in _PAINT.items():
        svg = svg.replace(stand_in, paint)
    return svg.replace("xlink:href", "href").strip()


def spark(points: Points) -> str:
    """A line of values in 0..1, as small as a word."""
    there = [(step, value) for step, value in points if value is not None]
    if not there:
        return ""
    first, last = points[0][0], points[-1][0]
    width = max(last - first, 1)
    path = " ".join(f"{(step - first) / width * 158 + 1:.1f},{20 - value * 18:.1f}" for step, value in there)
    return (
        '<svg class="spark" viewBox="0 0 160 22" role="img">'
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
