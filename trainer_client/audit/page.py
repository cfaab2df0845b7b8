"""Writes the page of an audit: one HTML file that loads nothing else, with a verdict and an interval for each measure.

Guarantees: every text of a row is escaped. A measure without a value has no bar and no number.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from trainer_client.agreement.bootstrap import RESAMPLES
from trainer_client.agreement.shown import WHY
from trainer_client.audit.audit import Audit, Finding
from trainer_client.audit.effects import Estimate, Measure, Placed
from trainer_client.pages.document import (
    badge,
    document,
    folded,
    interval,
    number,
    row,
    section,
    sentences,
    table,
    tile,
)

_WIDTH, _HEIGHT = 260.0, 26.0
_STYLES = """
table { min-width: 900px; table-layout: fixed; }
th:nth-child(2) { width: 66px; } th:nth-child(3) { width: 136px; } th:nth-child(4) { width: 136px; }
th:nth-child(5) { width: 216px; } th:nth-child(6) { width: 100px; } th:nth-child(7) { width: 80px; }
details td:nth-child(2) { width: 80px; } details td:nth-child(3) { width: 120px; }
details td:nth-child(4) { width: 50%; }
td { vertical-align: middle; }
.bar { display: block; width: 200px; height: 20px; }
.bar .good { fill: var(--pass-tint); }
.bar .axis { stroke: var(--line); stroke-width: 1; }
.bar .zero { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 2; }
.bar .whisker { stroke-width: 2.5; stroke: var(--soft); }
.bar circle { fill: var(--soft); }
.bar .whisker.pass { stroke: var(--pass); } .bar .whisker.warn { stroke: var(--warn); }
.bar .whisker.fail { stroke: var(--fail); }
.bar circle.pass { fill: var(--pass); } .bar circle.warn { fill: var(--warn); } .bar circle.fail { fill: var(--fail); }
"""
_LIMITS = {"near zero": "at most {limit:g} from 0", "low": "at most {limit:g}", "high": "at least {limit:g}"}
_MEANING = {
    "pass": "the interval is within the limit",
    "warn": "the interval reaches over the limit, or there are too few prompts to tell",
    "fail": "the whole interval is beyond the limit",
    "not run": "nothing to measure",
}


def page(audit: Audit) -> str:
    """The whole page."""
    judge = audit.judge
    toy = ", a toy: believe none of its verdicts" if judge.toy else ""
    mode = judge.mode if judge.batch is None else f"{judge.mode}, all criteria in one document"
    return document(
        f"Audit of {Path(judge.model).name}",
        f"Mode {mode}, layout {judge.layout}, engine {judge.engine}, fingerprint {judge.fingerprint}{toy}.",
        tiles=_tiles(audit),
        sections=(*(_check(audit, one) for one in audit.findings), section("How to read this", "", _facts(audit))),
        styles=_STYLES,
    )


def _tiles(audit: Audit) -> Iterable[str]:
    for verdict in ("fail", "warn", "pass", "not run"):
        count = sum(one.verdict == verdict for one in audit.findings)
        yield tile(str(count), verdict, verdict=_colour(verdict), about=_MEANING[verdict])
    yield tile(str(audit.rows), f"responses to {audit.prompts} prompts")
    yield tile(str(audit.asked), "questions to the judge")


def _check(audit: Audit, finding: Finding) -> str:
    mark = badge(finding.verdict, _colour(finding.verdict))
    if finding.why_not:
        inner = f"<p>Not run: {escape(finding.why_not)}.</p>"
    else:
        head = "Measure", ("mean", "n"), ("95 % interval", "n"), "limit", "", ("pairs", "n"), ""
        inner = table(head, (_measure(one) for one in finding.estimates)) + _extremes(audit, finding)
    return section(finding.check.name, finding.check.about, inner, mark=mark)


def _measure(one: Estimate) -> str:
    limit = _LIMITS[one.measure.good].format(limit=one.measure.limit)
    pairs = f"{one.pairs}" + (f"<br>{one.missing} not judged" if one.missing else "")
    figures = ((one.measure.about, "name"), (number(one.mean), "n"), (_interval(one), "n"), (limit, ""))
    more = f'<td>{_bar(one)}</td><td class="n">{pairs}</td><td>{badge(one.verdict, _colour(one.verdict))}</td>'
    return row(figures, more=more)


def _interval(one: Estimate) -> str:
    return interval(one.low, one.high) or ("" if one.why is None else WHY[one.why])


def _bar(one: Estimate) -> str:
    """The interval on an axis, with the good region shaded."""
    if one.mean is None or one.low is None or one.high is None:
        return ""
    left, right = _axis(one)

    def at(value: float) -> float:
        return (min(max(value, left), right) - left) / (right - left) * (_WIDTH - 8) + 4

    good = _good(one.measure, left, right)
    start, end, mean = at(one.low), at(one.high), at(one.mean)
    middle = _HEIGHT / 2
    zero = f'<line x1="{at(0):.1f}" x2="{at(0):.1f}" y1="3" y2="{_HEIGHT - 3}" class="zero"/>' if left < 0 else ""
    return (
        f'<svg class="bar" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{interval(one.low, one.high)}">'
        f'<rect x="{at(good[0]):.1f}" y="3" width="{at(good[1]) - at(good[0]):.1f}" height="{_HEIGHT - 6}" '
        'class="good"/>'
        f'<line x1="4" x2="{_WIDTH - 4:g}" y1="{middle}" y2="{middle}" class="axis"/>'
        f'{zero}<line x1="{start:.1f}" x2="{max(end, start + 1):.1f}" y1="{middle}" y2="{middle}" class="whisker '
        f'{_colour(one.verdict)}"/><circle cx="{mean:.1f}" cy="{middle}" r="4" class="{_colour(one.verdict)}"/></svg>'
    )


def _axis(one: Estimate) -> tuple[float, float]:
    if one.measure.good != "near zero":
        return (0.0, 1.0) if one.measure.limit >= 0.1 or (one.high or 0) > 0.2 else (0.0, 0.2)
    reach = max(abs(one.low or 0.0), abs(one.high or 0.0), 2 * one.measure.limit)
    return -reach, reach


def _good(measure: Measure, left: float, right: float) -> tuple[float, float]:
    if measure.good == "near zero":
        return -measure.limit, measure.limit
    return (left, measure.limit) if measure.good == "low" else (measure.limit, right)


def _extremes(audit: Audit, finding: Finding) -> str:
    rows = [
        row(
            (
                (one.measure.about, "name"),
                (number(placed.effect.value), "n"),
                (f"row {placed.row}", ""),
                (_text(audit, placed), "text"),
            )
        )
        for one in finding.estimates
        for placed in one.extremes
    ]
    return folded("the largest effects", table((), rows)) if rows else ""


def _text(audit: Audit, placed: Placed) -> str:
    return audit.texts.get((placed.row, str(placed.effect.criterion)), "the whole response")


def _facts(audit: Audit) -> str:
    lines = [f"{name}: {_MEANING[name]}." for name in ("pass", "warn", "fail")]
    lines += [f"{count} responses of the file were left out: {why}." for why, count in sorted(audit.left_out.items())]
    lines += [f"{count} verdicts are missing: {why}." for why, count in sorted(audit.missing.items())]
    lines.append(
        f"Intervals: {RESAMPLES:,} bootstrap samples of whole prompts. P(met) is the served one, calibrated if it is."
    )
    return sentences(lines)


def _colour(verdict: str) -> str:
    return verdict if verdict in ("pass", "warn", "fail") else ""
