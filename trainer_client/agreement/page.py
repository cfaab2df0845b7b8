"""Writes the page of a measurement: one HTML file that loads nothing else, with all figures and their intervals.

Guarantees: names are escaped. A figure without a value is empty and no number.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from trainer_client.agreement import charts, names
from trainer_client.agreement.bootstrap import RESAMPLES, Figure
from trainer_client.agreement.measured import Comparison, Figures, Measured, MeasuredJudge
from trainer_client.agreement.shown import between, table_cell
from trainer_client.agreement.spent import rows as spent_rows
from trainer_client.pages.charts import interval as interval_bar
from trainer_client.pages.document import document, folded, row, section, sentences, table, tile

_TILES = ("accuracy", "auroc", "ece", "not_judged")
_JUDGE = ("model", "engine", "mode", "layout", "prompt", "fingerprint", "calibration", "trust")
_SHARES = frozenset({"accuracy", "auroc"})
_STYLES = """
svg.reliability { width: 100%; max-width: 420px; height: auto; }
svg text { font-size: 11px; fill: var(--soft); }
.ideal { stroke: var(--soft); stroke-dasharray: 4 4; }
.count { fill: var(--count); }
"""


def page(measured: Measured) -> str:
    """The whole page."""
    labels = measured.labels
    count = labels["labelled"] + labels["graded"]
    known = f"{count:,} labelled criteria of {labels['responses']:,} responses to {labels['groups']:,} prompts"
    people = f", {labels['annotators']} annotators" if labels["annotators"] else ""
    return document(
        "Agreement of judges with labels" if len(measured.judges) > 1 else "Agreement of a judge with labels",
        f"{known}{people}; digest {labels['digest'][:16]}.",
        tiles=_tiles(measured.judges[0]) if len(measured.judges) == 1 else (),
        sections=_sections(measured),
        styles=_STYLES,
    )


def _sections(measured: Measured) -> Iterator[str]:
    yield section(
        "Judges",
        "A judge is a model with its mode, layout and prompt; its fingerprint names all of it.",
        table(("", *_JUDGE), [_judge_row(one) for one in measured.judges]),
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
        yield section(heading, about, _figures(rows, columns))
    if graded := [one for one in measured.judges if one.levels is not None]:
        columns = [(one.name, one.levels.figures) for one in graded if one.levels is not None]
        yield section(
            "Levels and choices",
            "Of the criteria whose label is a level. In the tables rows are labels, and columns what the judge took.",
            _figures(names.LEVELS, columns) + "".join(map(_confusions, graded)),
        )
    if spent := {one.name: one.spent for one in measured.judges if one.spent is not None}:
        yield section(
            "What it took",
            "Of this run: what was in the store was not asked about, and what the service had in its cache took no "
            "tokens.",
            table(
                ("", *((name, "n") for name in spent)), [_spent_row(about, cells) for about, cells in spent_rows(spent)]
            ),
        )
    for one in measured.judges:
        if one.bins:
            about = "On the line a P(met) of 0.7 is met in 70 % of the cases. Bars are 95 % intervals."
            chart = f"<figure>{charts.reliability(one.bins, one.name)}</figure>"
            yield section(f"Reliability: {one.name}", about, chart, wide=False)
    for one in measured.judges:
        if one.slices:
            yield section(f"Parts: {one.name}", "Parts with fewer than 20 criteria are left out.", _slices(one))
    if measured.comparisons:
        yield section(
            "Judge against judge",
            "On the criteria that both have judged. Differences are drawn in pairs; where an interval holds 0, it is "
            "open which is better.",
            "".join(_comparison(pair) for pair in measured.comparisons),
        )
    yield section("How it was measured", "", _facts(measured))


def _tiles(judge: MeasuredJudge) -> Iterable[str]:
    for name in _TILES:
        figure = judge.figures[name]
        if figure.value is not None:
            yield tile(f"{figure.value:.3f}", names.CRITERIA[name], between(figure))


def _judge_row(one: MeasuredJudge) -> str:
    judge = one.judge
    doubt = f" ({judge['doubt']})" if judge["doubt"] else ""
    cells = (one.name, f"{Path(str(judge['model'])).name}{doubt}", *(judge.get(name) for name in _JUDGE[1:]))
    return row(("" if value is None else str(value), "name") for value in cells)


def _figures(rows: Mapping[str, str], columns: Sequence[tuple[str, Figures]]) -> str:
    lines = []
    for name, about in rows.items():
        if any(name in figures for _, figures in columns):
            cells = "".join(table_cell(figures.get(name)) for _, figures in columns)
            lines.append(f'<tr><td class="name">{escape(about)}</td>{cells}</tr>')
    return table(("", *(name for name, _ in columns)), lines)


def _confusions(judge: MeasuredJudge) -> str:
    parts = []
    for one in judge.levels.confusions if judge.levels is not None else ():
        kind = "levels" if one.ordered else "choices"
        rows = [
            row(((str(place), "name"), *((str(n), "n") for n in counts))) for place, counts in enumerate(one.counts)
        ]
        head: list[str | tuple[str, str]] = [f"{judge.name}, {len(one.counts)} {kind}"]
        head += [(str(place), "n") for place in range(len(one.counts))]
        parts.append(table(head, rows))
    return "".join(parts)


def _spent_row(about: str, cells: Sequence[str]) -> str:
    return row(((about, "name"), *((cell, "n") for cell in cells)))


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
            parts.append(folded(heading, table(head, rows), shown=kind != "tag"))
    return "".join(parts)


def _slice_cell(name: str, figure: Figure | None) -> str:
    if name not in _SHARES or figure is None or figure.value is None or figure.low is None or figure.high is None:
        return table_cell(figure)
    bar = interval_bar(figure.value, figure.low, figure.high)
    return table_cell(figure).replace("</td>", f"{bar}</td>")


def _comparison(pair: Comparison) -> str:
    heading = f"<h3>{escape(pair.one)} and {escape(pair.other)}</h3>"
    return heading + _figures(names.COMPARISON, [("", pair.figures)])


def _facts(measured: Measured) -> str:
    lines = [
        f"Intervals: {RESAMPLES:,} bootstrap resamples of whole prompts, at 95 %. A share that is the same in all of "
        "them has Wilson's interval, each prompt counted once; another figure has none, as no spread was seen.",
        "Accuracy and error rates use the service's threshold; AUROC, calibration error, Brier score and log loss use "
        "P(met) as it was served.",
        "Expected calibration error: ten bins of equal width.",
        "Annotators: each against the majority of the others, which is what a judge can reach.",
    ]
    for one in measured.judges:
        counts = ", ".join(f"{count:,} {status}" for status, count in sorted(one.statuses.items()))
        lines.append(f"{one.name}: {counts}.")
    return sentences(lines)
