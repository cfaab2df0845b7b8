"""Writes the page on which a person looks at generated rubrics: counts, then rubrics with what the linter found.

Guarantees: the page loads nothing else, and every text of a row or a model is escaped. Of many rows it shows some,
those without a rubric and those with findings first, and says of how many.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from trainer_client import wire
from trainer_client.generation.run import Outcome
from trainer_client.generation.tally import Tally
from trainer_client.generation.templates import Template, conversation_text
from trainer_client.pages import document

_MOST = 40
"""Rows of each kind: without a rubric, with findings, without findings."""
_HEAD_CHARACTERS = 160
_STYLES = """
.share { display: block; height: 10px; border-radius: 3px; background: var(--one); min-width: 2px; }
td.share-cell { width: 60%; min-width: 90px; vertical-align: middle; }
.finding { color: var(--warn); font-size: 13px; display: block; overflow-wrap: anywhere; }
.finding.error { color: var(--fail); }
.soft { color: var(--soft); font-size: 13px; }
td.text { min-width: 0; }
td b { display: inline-block; min-width: 1.6em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
"""


@dataclass(slots=True)
class Examples:
    """The rows that the page shows."""

    without: list[Outcome] = field(default_factory=list)
    found: list[Outcome] = field(default_factory=list)
    clean: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        kind = self.without if outcome.state != "written" else self.clean
        if outcome.state == "written" and outcome.written is not None and outcome.written.draft.findings:
            kind = self.found
        if len(kind) < _MOST:
            kind.append(outcome)


def page(tally: Tally, examples: Examples, template: Template, subtitle: str, spending: Mapping[str, Any]) -> str:
    """The whole page."""
    shown = [*examples.without, *examples.found, *examples.clean]
    about = f"{len(shown):,} of {tally.rows:,} rows: without a rubric, with findings, and others, up to {_MOST} each."
    return document.document(
        f"Rubrics by {template.version_name}",
        subtitle,
        tiles=_tiles(tally, spending),
        sections=[
            _counts("Criteria in a rubric", "How many rubrics have so many criteria.", _numbers(tally.sizes)),
            _counts("Points", "How many criteria have so many points, faults below 0.", _numbers(tally.points)),
            _counts("Categories", "How many criteria each has.", dict(tally.categories.most_common())),
            _findings(tally),
            _whys(tally),
            document.section("Rubrics", about, "") if shown else "",
            *map(_row, shown),
        ],
        styles=_STYLES,
    )


def _tiles(tally: Tally, spending: Mapping[str, Any]) -> Iterable[str]:
    without = tally.states["failed"] + tally.states["dropped"]
    yield document.tile(f"{tally.written:,}", "rubrics written", verdict="pass" if tally.written else "fail")
    yield document.tile(f"{without:,}", "rows without one", verdict="warn" if without else "")
    yield document.tile(f"{tally.criteria:,}", "criteria", f"{tally.merged:,} more were merged")
    yield document.tile(f"{tally.last.total():,}", "findings left", f"{tally.first.total():,} in first drafts")
    yield document.tile(f"{tally.refused:,}", "drafts refused", about="they were not in the form that was asked for")
    cost = spending.get("cost")
    tokens = f"{spending['prompt_tokens']:,} tokens read, {spending['completion_tokens']:,} written, "
    paid = f"{spending['requests']:,} requests, {spending['from_log']:,} answers from the log"
    if cost is None:
        yield document.tile(f"{spending['requests']:,}", "requests", about=tokens + paid)
    else:
        least = "at least " if spending["uncounted"] else ""
        yield document.tile(f"{least}{cost:.4f}", "cost", f"{spending['requests']:,} requests", about=tokens + paid)


def _numbers(counts: Mapping[Any, int]) -> dict[str, int]:
    return {
        document.number(float(value), 0) if value == int(value) else f"{value:g}": counts[value]
        for value in sorted(counts)
    }


def _counts(heading: str, about: str, counts: Mapping[str, int]) -> str:
    """A bar for each count; nothing where there is nothing to count."""
    if not counts:
        return ""
    most = max(counts.values())
    rows = [
        f'<tr><td class="name">{escape(name)}</td><td class="n">{count:,}</td><td class="share-cell">'
        f'<span class="share" style="width:{100 * count / most:.1f}%"></span></td></tr>'
        for name, count in counts.items()
    ]
    return document.section(heading, about, document.table([], rows), wide=False)


def _findings(tally: Tally) -> str:
    codes = Counter({code: 0 for code in (*tally.first, *tally.last)})
    codes.update(tally.first)
    rows = [
        document.row([(code, "name"), (f"{count:,}", "n"), (f"{tally.last[code]:,}", "n")])
        for code, count in codes.most_common()
    ]
    head: list[str | tuple[str, str]] = ["finding", ("first drafts", "n"), ("left", "n")]
    about = "What the linter found in first drafts, and what is left after its findings went back to the generator."
    return document.section("Findings", about, document.table(head, rows), wide=False) if rows else ""


def _whys(tally: Tally) -> str:
    told = [f"{count:,} rows: {why}" for why, count in tally.whys.most_common(10)]
    return document.section("Why rows have no rubric", "", document.sentences(told), wide=False) if told else ""


def _row(outcome: Outcome) -> str:
    source, written = outcome.source, outcome.written
    asked = " ".join(str(source.messages[-1].get("content") or "").split())
    about = asked if len(asked) <= _HEAD_CHARACTERS else f"{asked[:_HEAD_CHARACTERS]}…"
    parts = [document.folded("Conversation", _text(conversation_text(source.messages)))]
    if source.reference is not None:
        parts.append(document.folded("Reference", _text(source.reference)))
    if written is not None and written.answer is not None:
        parts.append(document.folded("Answer that the generator wrote first", _text(written.answer)))
    if source.pair is not None:
        parts += [
            document.folded(name, _text(text))
            for name, text in zip(("Preferred answer", "Rejected answer"), source.pair, strict=True)
        ]
    if outcome.why is not None:
        parts.append(f'<span class="finding error">{escape(outcome.why)}</span>')
    if outcome.preference is not None:
        high, low = outcome.preference.preferred, outcome.preference.rejected
        scores = [document.number(one) or "none" for one in (high, low)]
        parts.append(f'<p class="soft">Scores: preferred {scores[0]}, rejected {scores[1]}.</p>')
    if written is not None:
        findings = [one for one in written.draft.findings if one.criterion is None]
        parts += [*map(_finding, findings), _rubric(written.draft.rubric, written.draft.findings)]
        merged = [f"{one.left_out.text} (as: {one.kept.text})" for one in written.draft.merged]
        parts += [document.folded(f"Merged: {len(merged)}", document.sentences(merged))] if merged else []
    kind = {"written": "pass", "dropped": "warn", "failed": "fail"}[outcome.state]
    return document.section(f"Row {source.id}", about, "".join(parts), mark=document.badge(outcome.state, kind))


def _rubric(rubric: wire.Rubric, findings: Iterable[wire.Finding]) -> str:
    found = list(findings)
    rows = []
    for id, one in zip(rubric.ids(), rubric.criteria, strict=True):
        told = "".join(_finding(finding) for finding in found if finding.criterion == id)
        tags = [value for name, value in one.tags.items() if name != "category"]
        small = f'<span class="soft">{escape("; ".join(tags))}</span>' if tags else ""
        text = f'<td class="text">{escape(one.judged_text)} {small}{told}</td>'
        worth = (
            f'<td><b>{document.number(one.worth, 0)}</b> <span class="soft">{escape(one.category or "")}</span></td>'
        )
        rows.append(document.row([], more=worth + text))
    return document.table(["points", "criterion"], rows)


def _finding(one: wire.Finding) -> str:
    kind = "finding error" if one.severity == "error" else "finding"
    return f'<span class="{kind}">{escape(one.code)}: {escape(one.message)}</span>'


def _text(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"
