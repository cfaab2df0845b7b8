"""Writes the page of a rescoring: one HTML file that loads nothing else.

Guarantees: texts of a log are escaped. What has no value has no number.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from trainer_client.agreement.shown import table_cell
from trainer_client.pages.charts import interval as interval_bar
from trainer_client.pages.document import cell, document, number, section, sentences, table, tile
from trainer_client.rescoring.comparison import ABOUT, NUMBERS, Comparison, Flips

_SCORES = ("score_before", "score_after", "change", "absolute_change", "changed")
_TILES = ("changed", "advantage_turned", "order_turned", "best_changed")


def page(facts: Mapping[str, Any], found: Comparison) -> str:
    """The whole page. `facts` say what was read, and under which settings on each side."""
    counts = found.counts
    subtitle = (
        f"{', '.join(facts['logs'])}: {counts['rollouts']:,} rollouts, {counts['groups']:,} groups with scores on both "
        f"sides, {counts.get('verdicts', 0):,} verdicts on both."
    )
    return document("What would have been rewarded", subtitle, tiles=_tiles(found), sections=_sections(facts, found))


def _tiles(found: Comparison) -> Iterator[str]:
    for name in _TILES:
        figure = found.figures.get(name)
        if figure is not None and figure.value is not None:
            yield tile(f"{figure.value:.1%}", ABOUT[name])


def _sections(facts: Mapping[str, Any], found: Comparison) -> Iterator[str]:
    yield section("What was changed", "", sentences(list(facts["changed"])))
    yield section(
        "Scores",
        "Intervals of 95 % over groups. A rollout without a score on one side is in none of these figures.",
        table(("", "value", ""), [_figure_row(found, name) for name in _SCORES]),
        wide=False,
    )
    yield section(
        "Order and advantages",
        "Within the groups of GRPO. The sign of the advantage says which responses are reinforced.",
        table(("", "value", ""), [_figure_row(found, name) for name in ABOUT if name not in _SCORES]),
        wide=False,
    )
    head = "", ("flips", "n"), ("to met", "n"), ("to not met", "n"), ("verdicts", "n"), ("share", "n"), ""
    for kind, heading in (("tag", "Verdicts that flip, by tag"), ("criterion", "Verdicts that flip, by criterion")):
        rows = [_flips_row(one) for one in found.flips if one.kind == kind and (one.flips or kind == "tag")]
        if rows:
            about = "The criteria with the most flips." if kind == "criterion" else ""
            yield section(heading, about, table(head, rows))
    yield section("What was read", "", sentences(list(facts["notes"])))


def _figure_row(found: Comparison, name: str) -> str:
    figure = found.figures.get(name)
    if figure is None:
        return ""
    bar = ""
    if name not in NUMBERS and figure.value is not None and figure.low is not None and figure.high is not None:
        bar = interval_bar(figure.value, figure.low, figure.high)
    return f'<tr><td class="name">{escape(ABOUT[name])}</td>{table_cell(figure)}<td>{bar}</td></tr>'


def _flips_row(one: Flips) -> str:
    counts = "".join(cell(f"{count:,}", "n") for count in (one.flips, one.to_met, one.to_unmet, one.n))
    share, bar = one.share, ""
    if share.value is not None and share.low is not None and share.high is not None:
        bar = interval_bar(share.value, share.low, share.high)
    value = "" if share.value is None else number(share.value)
    return f'<tr><td class="name">{escape(one.name)}</td>{counts}{cell(value, "n")}<td>{bar}</td></tr>'
