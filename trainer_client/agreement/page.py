"""Writes the page of a measurement: one HTML file that loads nothing else, with all figures and their intervals.

Guarantees: names are escaped. A figure without a value is empty and no number.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from trainer_client.agreement import charts, names
from trainer_client.agreement.bootstrap import RESAMPLES, Figure
from trainer_client.agreement.measured import Comparison, Figures, Measured, MeasuredJudge

_PAGE = Path(__file__).with_name("page.html")
_TILES = ("accuracy", "auroc", "ece", "not_judged")
_JUDGE = ("model", "engine", "mode", "layout", "prompt", "fingerprint", "calibration", "trust")
_SHARES = frozenset({"accuracy", "auroc"})


def page(measured: Measured) -> str:
    """The whole page."""
    labels = measured.labels
    known = (
        f"{labels['labelled']:,} labelled criteria of {labels['responses']:,} responses to {labels['groups']:,} prompts"
    )
    people = f", {labels['annotators']} annotators" if labels["annotators"] else ""
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        title="Agreement of judges with labels" if len(measured.judges) > 1 else "Agreement of a judge with labels",
        subtitle=escape(f"{known}{people}; digest {labels['digest'][:16]}."),
        tiles="".join(_tiles(measured.judges[0])) if len(measured.judges) == 1 else "",
        sections="\n".join(_sections(measured)),
    )


def _sections(measured: Measured) -> Iterator[str]:
    yield _section(
        "Judges",
        "A judge is a model with its mode, layout and prompt; its fingerprint names all of it.",
        _table(("", *_JUDGE), [_judge_row(one) for one in measured.judges]),
    )
    for heading, about, rows, of in (
        (
            "Criteria",
            "Verdicts beside labels, with 95 % intervals. A criterion without a verdict is in the last two rows alone.",
            names.CRITERIA,
            "figures",
        ),
        (
            "Rewards",
            "Of the aggregation healthbench, from labels and from verdicts: what a training sees. It learns from "
            "differences within a prompt; a correlation over all prompts is high already where rubrics differ much.",
            names.REWARDS,
            "rewards",
        ),
    ):
        columns = [(one.name, getattr(one, of)) for one in measured.judges]
        if of == "figures" and measured.annotators:
            columns.append(("annotators, each against the others", measured.annotators))
        yield _section(heading, about, _figures(rows, columns))
    for one in measured.judges:
        if one.bins:
            about = "On the line a P(met) of 0.7 is met in 70 % of the cases. Bars are 95 % intervals."
            chart = f"<figure>{charts.reliability(one.bins, one.name)}</figure>"
            yield _section(f"Reliability: {one.name}", about, chart, wide=False)
    for one in measured.judges:
        if one.slices:
            yield _section(f"Parts: {one.name}", "Parts with fewer than 20 criteria are left out.", _slices(one))
    if measured.comparisons:
        yield _section(
            "Judge against judge",
            "On the criteria that both have judged. Differences are drawn in pairs; where an interval holds 0, it is "
            "open which is better.",
            "".join(_comparison(pair) for pair in measured.comparisons),
        )
    yield _section("How it was measured", "", _facts(measured))


def _tiles(judge: MeasuredJudge) -> Iterable[str]:
    for name in _TILES:
        figure = judge.figures[name]
        if figure.value is not None:
            yield (
                f'<div class="tile"><b>{figure.value:.3f}</b><span>{escape(names.CRITERIA[name])}</span>'
                f"<span>{_interval(figure)}</span></div>"
            )


def _judge_row(one: MeasuredJudge) -> str:
    judge = one.judge
    doubt = f" ({judge['doubt']})" if judge["doubt"] else ""
    cells = (one.name, f"{Path(str(judge['model'])).name}{doubt}", *(judge.get(name) for name in _JUDGE[1:]))
    return f"<tr>{''.join(_cell(cell) for cell in cells)}</tr>"


def _cell(value: object) -> str:
    return f'<td class="name">{escape("" if value is None else str(value))}</td>'


def _figures(rows: Mapping[str, str], columns: Sequence[tuple[str, Figures]]) -> str:
    lines = []
    for name, about in rows.items():
        if any(name in figures for _, figures in columns):
            cells = "".join(_figure(figures.get(name)) for _, figures in columns)
            lines.append(f'<tr><td class="name">{escape(about)}</td>{cells}</tr>')
    return _table(("", *(name for name, _ in columns)), lines)


def _figure(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "<td></td>"
    small = f"{_interval(figure)}{', ' if figure.low is not None else ''}n {figure.n:,}"
    return f'<td class="figure"><b>{_number(figure.value)}</b> <span>{small}</span></td>'


def _interval(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f"{_number(figure.low)} to {_number(figure.high)}"


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-0.000", "0.000").replace("-", "\N{MINUS SIGN}")


def _slices(judge: MeasuredJudge) -> str:
    parts = []
    for kind, heading in (("language", "by language"), ("length", "by length of the response"), ("tag", "by tag")):
        rows = [
            f'<tr><td class="name">{escape(part.name)}</td>'
            + "".join(_slice_cell(name, part.figures.get(name)) for name in names.SLICE)
            + "</tr>"
            for part in judge.slices
            if part.kind == kind
        ]
        if rows:
            head = (heading, *(names.CRITERIA[name] for name in names.SLICE))
            parts.append(
                f"<details{'' if kind == 'tag' else ' open'}><summary>{heading}</summary>{_table(head, rows)}</details>"
            )
    return "".join(parts)


def _slice_cell(name: str, figure: Figure | None) -> str:
    if name not in _SHARES or figure is None or figure.value is None or figure.low is None or figure.high is None:
        return _figure(figure)
    bar = charts.interval(figure.value, figure.low, figure.high)
    return _figure(figure).replace("</td>", f"{bar}</td>")


def _comparison(pair: Comparison) -> str:
    heading = f"<h3>{escape(pair.one)} and {escape(pair.other)}</h3>"
    return heading + _figures(names.COMPARISON, [("", pair.figures)])


def _facts(measured: Measured) -> str:
    lines = [
        f"Intervals: {RESAMPLES:,} bootstrap resamples of whole prompts, at 95 %.",
        "Accuracy and error rates use the service's threshold; AUROC, calibration error, Brier score and log loss use "
        "P(met) as it was served.",
        "Expected calibration error: ten bins of equal width.",
        "Annotators: each against the majority of the others, which is what a judge can reach.",
    ]
    for one in measured.judges:
        counts = ", ".join(f"{count:,} {status}" for status, count in sorted(one.statuses.items()))
        lines.append(f"{one.name}: {counts}.")
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _section(heading: str, about: str, inner: str, *, wide: bool = True) -> str:
    kind = ' class="wide"' if wide else ""
    told = f"<p>{escape(about)}</p>" if about else ""
    return f"<section{kind}><h2>{escape(heading)}</h2>{told}{inner}</section>"


def _table(head: Iterable[str], rows: Sequence[str]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll" tabindex="0"><table>{body}</table></div>'
