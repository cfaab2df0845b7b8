"""Draws reliability diagrams as SVG text that takes its colours from the page that holds it.

Guarantees: a bin without verdicts has no point. A chart loads nothing from outside of itself.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trainer_client.agreement.statistics import BINS

_SIDE, _LEFT, _TOP, _BELOW = 260.0, 44.0, 10.0, 78.0
_BARS = 34.0


def reliability(bins: Sequence[Mapping[str, Any]], name: str) -> str:
    """The share of labels that are met over P(met), bin by bin, with its interval, beside the diagonal of a calibrated
    judge; below, how many verdicts each bin has."""
    total = sum(one["n"] for one in bins)
    most = max((one["n"] for one in bins), default=1)
    parts = [_frame()]
    for one in bins:
        x = _x(one["p"])
        met = one["met"]
        bar = _BARS * one["n"] / most
        left = _LEFT + one["bin"] / BINS * _SIDE
        bottom = _TOP + _SIDE + _BARS + 6
        parts.append(
            f'<rect x="{left + 1:.1f}" y="{bottom - bar:.1f}" width="{_SIDE / BINS - 2:.1f}" height="{bar:.1f}" '
            f'class="count"><title>{one["n"]} of {total} verdicts</title></rect>'
        )
        if met["low"] is not None:
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(met["low"]):.1f}" y2="{_y(met["high"]):.1f}" class="range"/>'
            )
        told = f"P(met) {one['p']:.2f}, met {met['value']:.2f}, {one['n']} verdicts"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{_y(met["value"]):.1f}" r="4" class="dot"><title>{told}</title></circle>'
        )
    width, height = _LEFT + _SIDE + 12, _TOP + _SIDE + _BELOW
    return (
        f'<svg class="reliability" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(f"reliability diagram of {name}")}">{"".join(parts)}</svg>'
    )


def _x(p: float) -> float:
    return _LEFT + p * _SIDE


def _y(share: float) -> float:
    return _TOP + (1 - share) * _SIDE


def _frame() -> str:
    right, bottom = _LEFT + _SIDE, _TOP + _SIDE
    lines = [
        f'<line x1="{_LEFT}" x2="{right}" y1="{_y(tick):.1f}" y2="{_y(tick):.1f}" class="grid"/>'
        f'<text x="{_LEFT - 6}" y="{_y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        f'<text x="{_x(tick):.1f}" y="{bottom + _BARS + 20}" text-anchor="middle">{tick:g}</text>'
        for tick in (0, 0.25, 0.5, 0.75, 1)
    ]
    below = f'x="{_LEFT + _SIDE / 2}" y="{bottom + _BELOW - 8}"'
    beside = f'transform="translate(11 {_TOP + _SIDE / 2}) rotate(-90)"'
    return (
        f'{"".join(lines)}<line x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{_TOP}" class="ideal"/>'
        f'<text {below} text-anchor="middle">P(met), and how many verdicts</text>'
        f'<text {beside} text-anchor="middle">share of labels met</text>'
    )
