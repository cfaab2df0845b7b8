"""Writes the page of a run's audit by pairs: one HTML file that loads nothing else.

Guarantees: names are escaped. What was not judged has no number.
"""

from html import escape
from pathlib import Path

from trainer_client.agreement.bootstrap import RESAMPLES, Figure
from trainer_client.agreement.shown import between, table_cell
from trainer_client.alignment.run_audit import RunAudit
from trainer_client.pages.charts import interval as interval_bar
from trainer_client.pages.document import (
    badge,
    document,
    number,
    section,
    sentences,
    table,
    tile,
)

_COLOURS = {"pass": "pass", "warn": "warn", "fail": "fail"}


def page(done: RunAudit) -> str:
    """The whole page."""
    judge, preferred = done.judge, done.result.accuracy
    trust = judge["trust"] or "does not compare"
    colour = _COLOURS.get(done.verdict, "")
    shown = number(preferred.value) or "none"
    tiles = [
        tile(shown, "prefer the later answer", between(preferred), verdict=colour),
        tile(number(done.reward_more.value) or "none", "more reward by the rubric"),
        tile(f"{done.characters[0]:,.0f} \N{RIGHTWARDS ARROW} {done.characters[1]:,.0f}", "characters, mean"),
        tile(f"{done.pairs:,}", f"pairs of {done.prompts:,} prompts"),
    ]
    return document(
        "Is the policy better without its rubric?",
        f"{done.steps}; judge {Path(str(judge['model'])).name}, {trust}, fingerprint {judge['fingerprint'] or 'none'}.",
        tiles=tiles,
        sections=[
            section(
                "Preference without the rubric",
                f"{done.sentence}.".capitalize(),
                table(("", "share", ""), _rows(done)),
                mark=badge(done.verdict, colour),
            ),
            section("How it was measured", "", sentences(_facts(done))),
        ],
    )


def _rows(done: RunAudit) -> list[str]:
    result = done.result
    rows = [("prefers the later answer", result.accuracy)]
    rows += [(f"… where {kind}", figure) for kind, figure in result.by_kind.items()]
    if result.disagreeing is not None:
        rows.append(("each order prefers another answer", result.disagreeing))
    return [_row(name, figure) for name, figure in rows]


def _row(name: str, figure: Figure) -> str:
    bar = ""
    if figure.value is not None and figure.low is not None and figure.high is not None:
        bar = interval_bar(figure.value, figure.low, figure.high)
    return f'<tr><td class="name">{escape(name)}</td>{table_cell(figure)}<td>{bar}</td></tr>'


def _facts(done: RunAudit) -> list[str]:
    result, cost = done.result, done.cost
    missing = ", ".join(f"{count} {status}" for status, count in sorted(result.not_judged.items())) or "none"
    why = [] if result.why_not is None else [f"The judge does not serve mode compare: {result.why_not}."]
    return [
        *why,
        "The judge saw the prompt and both answers, in both orders, and neither the rubric nor the reference.",
        f"{result.right:,} prefer the later answer, {result.wrong:,} the earlier one, {result.ties:,} are ties, which "
        f"count as one half. Not judged: {missing}.",
        f"Intervals are at 95 %, by drawing whole prompts {RESAMPLES:,} times. Judges often prefer the longer of two "
        "answers: where the later ones are longer, look at the pairs of which they are not.",
        f"It took {cost.judgements:,} judgements, {cost.prompt_tokens:,} tokens and {cost.seconds:,.1f} seconds.",
    ]
