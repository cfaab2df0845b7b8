"""Writes the page of an evaluation: one HTML file that loads nothing else, with all figures and their intervals.

Guarantees: names are escaped. A figure without a value is empty and no number.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from html import escape
from pathlib import Path

from trainer_client.agreement.shown import between, table_cell
from trainer_client.evaluation.outcome import Curves, Evaluation, Measure, Table
from trainer_client.evaluation.seeds import Paired
from trainer_client.pages import document as html

_TILES = 4
_SEEDS_SHOWN = 5
_LEFT, _TOP, _WIDTH, _HEIGHT = 46.0, 10.0, 420.0, 200.0
_COLOURS = ("one", "two", "three")
_STYLES = """
figure svg.curves { width: 100%; min-width: 24rem; max-width: 36rem; height: auto; font-size: 11px; }
svg.curves text { fill: var(--soft); }
svg.curves .grid { stroke: var(--line); }
svg.curves path { fill: none; stroke-width: 2; }
svg.curves .band { opacity: .14; stroke: none; }
"""


def page(found: Evaluation, compared: Mapping[str, Paired] | None = None, other: str = "") -> str:
    """The whole page. `compared` are the differences to the policy `other`."""
    about = f"Policy {found.policy}."
    if found.judge is not None:
        judge = found.judge
        doubt = f", {judge['doubt']}: believe none of these verdicts" if judge.get("doubt") else ""
        about += (
            f" Judge {Path(str(judge['model'])).name} in mode {judge['mode']} and layout {judge['layout']}, "
            f"{judge['fingerprint']}{doubt}."
        )
    return html.document(
        f"Evaluation: {found.kind}",
        about,
        tiles=[_tile(one) for one in found.measures[:_TILES]],
        sections=_sections(found, compared or {}, other),
        styles=_STYLES,
    )


def _tile(one: Measure) -> str:
    seeds = one.over_seeds()
    said = [told] if (told := between(seeds.interval)) else []
    if seeds.std is not None:
        said.append(f"± {html.number(seeds.std)} over {len(seeds.seeds)} seeds")
    return html.tile(html.number(seeds.mean) or "no value", one.about, *said)


def _sections(found: Evaluation, compared: Mapping[str, Paired], other: str) -> Iterator[str]:
    yield html.section(
        "Measures",
        "The mean over seeds, with a 95 % interval over prompts; the spread (standard deviation) and the interval over "
        "seeds say how much another seed changes. The last column has each seed's mean, or the lowest and the highest.",
        html.table(
            ("", "mean", ("spread", "n"), ("interval over seeds", "n"), "each seed"),
            map(_measure_row, found.measures),
        ),
    )
    if compared:
        yield html.section(
            f"Against {other}",
            "This policy less the other one, prompt by prompt. p is the chance of so large a difference if nothing but "
            "a coin decided which of the two is better on each prompt.",
            html.table(
                ("", "difference", ("p", "n"), ("better on", "n"), ("worse on", "n"), ("level on", "n")),
                [_paired_row(one, compared[one.name]) for one in found.measures if one.name in compared],
            ),
        )
    for curves in found.curves:
        yield html.section(curves.heading, curves.about, _curves(curves))
    for table in found.tables:
        yield html.section(table.heading, table.about, _table(table))
    lines = [*found.notes, *_cost(found)]
    if lines:
        yield html.section("How to read it", "", html.sentences(lines))


def _measure_row(one: Measure) -> str:
    seeds = one.over_seeds()
    figure = table_cell(replace(seeds.interval, value=seeds.mean))
    runs = "" if seeds.over_runs is None else html.interval(*seeds.over_runs)
    known = [value for value in seeds.seeds if value is not None]
    each = ", ".join(html.number(value) or "no value" for value in seeds.seeds)
    if len(seeds.seeds) > _SEEDS_SHOWN and known:
        each = html.interval(min(known), max(known))
    more = figure + html.cell(html.number(seeds.std), "n") + html.cell(runs, "n") + html.cell(each)
    return html.row([(one.about, "name")], more=more)


def _paired_row(one: Measure, pair: Paired) -> str:
    figure = pair.difference
    p = "" if pair.p is None else html.number(pair.p, 4) + ("" if pair.exact else " (random signs)")
    counts = [(f"{count:,}", "n") for count in (pair.better, pair.worse, pair.same)]
    more = table_cell(figure) + html.cell(p, "n")
    return html.row([(one.about, "name")], more=more + "".join(html.cell(*cell) for cell in counts))


def _table(table: Table) -> str:
    def shown(value: str | float | int | None) -> str:
        if isinstance(value, float):
            return html.number(value)
        return "" if value is None else f"{value:,}" if isinstance(value, int) else value

    head: list[str | tuple[str, str]] = [table.head[0], *((name, "n") for name in table.head[1:])]
    rows = [html.row([(shown(row[0]), "name"), *((shown(one), "n") for one in row[1:])]) for row in table.rows]
    return html.table(head, rows)


def _cost(found: Evaluation) -> Iterator[str]:
    said = found.cost.get("said")
    if said:
        yield str(said)


def _curves(curves: Curves) -> str:
    values = [one for line in curves.lines.values() for point in line if point is not None for one in _known(point)]
    if not values:
        return ""
    low, high = min(values), max(values)
    low, high = (low - 0.5, high + 0.5) if high - low < 1e-9 else (low, high)
    last = math.log2(max(curves.sizes)) or 1.0

    def x(size: int) -> float:
        return _LEFT + math.log2(size) / last * _WIDTH

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * _HEIGHT

    parts = [_grid(curves, low, high, x, y)]
    for colour, line in zip(_COLOURS, curves.lines.values(), strict=False):
        there = [(size, point) for size, point in zip(curves.sizes, line, strict=True) if point is not None]
        band = [(size, point) for size, point in there if point[1] is not None and point[2] is not None]
        if len(band) > 1:
            above = [f"{x(size):.1f},{y(point[2] or 0):.1f}" for size, point in band]
            below = [f"{x(size):.1f},{y(point[1] or 0):.1f}" for size, point in reversed(band)]
            parts.append(f'<polygon class="band" fill="var(--{colour})" points="{" ".join(above + below)}"/>')
        path = " ".join(f"{'L' if n else 'M'}{x(size):.1f},{y(point[0]):.1f}" for n, (size, point) in enumerate(there))
        parts.append(f'<path stroke="var(--{colour})" d="{path}"/>')
        parts += [
            f'<circle cx="{x(size):.1f}" cy="{y(point[0]):.1f}" r="3" fill="var(--{colour})">'
            f"<title>{size}: {html.number(point[0])}</title></circle>"
            for size, point in there
        ]
    legend = "".join(
        f'<span><b style="color:var(--{colour})">&#9679;</b> {escape(name)}</span>'
        for colour, name in zip(_COLOURS, curves.lines, strict=False)
    )
    box = f"0 0 {_LEFT + _WIDTH + 14:g} {_TOP + _HEIGHT + 40:g}"
    svg = f'<svg class="curves" viewBox="{box}" role="img" aria-label="{escape(curves.heading)}">{"".join(parts)}</svg>'
    rows = [
        html.row([(f"{size:,}", "n")], more="".join(_point_cell(line[place]) for line in curves.lines.values()))
        for place, size in enumerate(curves.sizes)
        if any(line[place] is not None for line in curves.lines.values())
    ]
    head: list[str | tuple[str, str]] = [(curves.across, "n"), *curves.lines]
    numbers = html.table(head, rows)
    figure = f'<figure class="scroll" tabindex="0">{svg}</figure>'
    return f'<p class="key">{legend}</p>{figure}{html.folded("the numbers", numbers)}'


def _known(point: tuple[float, float | None, float | None]) -> list[float]:
    return [one for one in point if one is not None]


def _point_cell(point: tuple[float, float | None, float | None] | None) -> str:
    return html.figure_cell(None) if point is None else html.figure_cell(*point)


def _grid(curves: Curves, low: float, high: float, x: Callable[[int], float], y: Callable[[float], float]) -> str:
    right, bottom = _LEFT + _WIDTH, _TOP + _HEIGHT
    lines = []
    for step in range(5):
        value = low + (high - low) * step / 4
        lines.append(
            f'<line x1="{_LEFT}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}" class="grid"/>'
            f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{html.number(value, 2)}</text>'
        )
    for size in curves.sizes:
        lines.append(f'<text x="{x(size):.1f}" y="{bottom + 16:g}" text-anchor="middle">{size}</text>')
    middle = _LEFT + _WIDTH / 2
    lines.append(f'<text x="{middle:g}" y="{bottom + 34:g}" text-anchor="middle">{escape(curves.across)}</text>')
    return "".join(lines)
