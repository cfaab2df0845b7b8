"""Writes the page of an audit: one HTML file that loads nothing else, with a verdict and an interval for each measure.

Guarantees: every text of a row is escaped. A measure without a value has no bar and no number.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template

from trainer_client.agreement.bootstrap import RESAMPLES
from trainer_client.audit.audit import Audit, Finding
from trainer_client.audit.effects import Estimate, Measure, Placed

_PAGE = Path(__file__).with_name("page.html")
_WIDTH, _HEIGHT = 260.0, 26.0
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
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        title=escape(f"Audit of {Path(judge.model).name}"),
        subtitle=escape(
            f"Mode {judge.mode}, layout {judge.layout}, engine {judge.engine}, fingerprint {judge.fingerprint}{toy}."
        ),
        tiles="".join(_tiles(audit)),
        checks="\n".join(_check(audit, one) for one in audit.findings),
        facts=_facts(audit),
    )


def _tiles(audit: Audit) -> Iterable[str]:
    for verdict in ("fail", "warn", "pass", "not run"):
        count = sum(one.verdict == verdict for one in audit.findings)
        yield (
            f'<div class="tile {_css(verdict)}" title="{escape(_MEANING[verdict])}"><b>{count}</b>'
            f"<span>{escape(verdict)}</span></div>"
        )
    yield f'<div class="tile"><b>{audit.rows}</b><span>responses to {audit.prompts} prompts</span></div>'
    yield f'<div class="tile"><b>{audit.asked}</b><span>questions to the judge</span></div>'


def _check(audit: Audit, finding: Finding) -> str:
    head = (
        f'<h2>{escape(finding.check.name)} <span class="badge {_css(finding.verdict)}">{escape(finding.verdict)}'
        f"</span></h2><p>{escape(finding.check.about)}</p>"
    )
    if finding.why_not:
        return f'<section>{head}<p class="soft">Not run: {escape(finding.why_not)}.</p></section>'
    rows = "".join(_measure(one) for one in finding.estimates)
    table = (
        '<div class="scroll"><table><thead><tr><th>Measure</th><th class="n">mean</th><th class="n">95 % interval</th>'
        f'<th>limit</th><th></th><th class="n">pairs</th><th></th></tr></thead><tbody>{rows}</tbody></table></div>'
    )
    return f"<section>{head}{table}{_extremes(audit, finding)}</section>"


def _measure(one: Estimate) -> str:
    limit = _LIMITS[one.measure.good].format(limit=one.measure.limit)
    pairs = f"{one.pairs}" + (f"<br>{one.missing} not judged" if one.missing else "")
    return (
        f'<tr><td class="name">{escape(one.measure.about)}</td><td class="n">{_number(one.mean)}</td>'
        f'<td class="n">{_interval(one)}</td><td class="limit">{limit}</td><td>{_bar(one)}</td>'
        f'<td class="n">{pairs}</td><td><span class="badge {_css(one.verdict)}">{one.verdict}</span></td></tr>'
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".replace("-0.000", "0.000").replace("-", "\N{MINUS SIGN}")


def _interval(one: Estimate) -> str:
    return "" if one.low is None else f"{_number(one.low)} to {_number(one.high)}"


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
        f'<svg class="bar" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{_interval(one)}">'
        f'<rect x="{at(good[0]):.1f}" y="3" width="{at(good[1]) - at(good[0]):.1f}" height="{_HEIGHT - 6}" '
        'class="good"/>'
        f'<line x1="4" x2="{_WIDTH - 4:g}" y1="{middle}" y2="{middle}" class="axis"/>'
        f'{zero}<line x1="{start:.1f}" x2="{max(end, start + 1):.1f}" y1="{middle}" y2="{middle}" class="whisker '
        f'{_css(one.verdict)}"/><circle cx="{mean:.1f}" cy="{middle}" r="4" class="{_css(one.verdict)}"/></svg>'
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
    rows = "".join(
        f'<tr><td class="name">{escape(one.measure.about)}</td><td class="n">{_number(placed.effect.value)}</td>'
        f'<td>row {escape(placed.row)}</td><td class="text">{escape(_text(audit, placed))}</td></tr>'
        for one in finding.estimates
        for placed in one.extremes
    )
    if not rows:
        return ""
    return (
        "<details><summary>the largest effects</summary>"
        f'<div class="scroll"><table><tbody>{rows}</tbody></table></div></details>'
    )


def _text(audit: Audit, placed: Placed) -> str:
    return audit.texts.get((placed.row, str(placed.effect.criterion)), "the whole response")


def _facts(audit: Audit) -> str:
    lines = [f"{name}: {_MEANING[name]}." for name in ("pass", "warn", "fail")]
    lines += [f"{count} responses of the file were left out: {why}." for why, count in sorted(audit.left_out.items())]
    lines += [f"{count} verdicts are missing: {why}." for why, count in sorted(audit.missing.items())]
    lines.append(
        f"Intervals: {RESAMPLES:,} bootstrap samples of whole prompts. P(met) is the served one, calibrated if it is."
    )
    return "".join(f"<li>{escape(line)}</li>" for line in lines)


def _css(verdict: str) -> str:
    return verdict.replace(" ", "-")
