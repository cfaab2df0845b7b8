"""Puts together the HTML pages that commands write: one file that loads nothing else, in light and in dark.

Guarantees: the text that a caller gives is escaped, but for the parameters `inner`, `rows`, `mark` and `more`, which
are HTML already. A number that is missing is shown as nothing.
"""

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from trainer_client.pages.assembly import digest, style

_HERE = Path(__file__).parent
_PAGE = _HERE / "page.html"

_SMOOTHING = (
    '<label class="smoothing" hidden>Smoothing <input type="range" min="0" max="15" step="0.5" value="2.5">'
    "<output>as drawn</output></label>"
)

# The classes that the page's styles know. Of a cell: `name` breaks anywhere, `text` keeps its lines, `n` is a number,
# `figure` has an interval. Of a verdict: `pass`, `warn`, `fail`.
Kind = str


def document(
    title: str, subtitle: str, *, tiles: Iterable[str], sections: Iterable[str], styles: str = "", script: str = ""
) -> str:
    """The whole page. `styles` is CSS of this kind of page alone, and `script` the one script that may run in it."""
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        scripts=f"script-src 'sha256-{digest(script)}'" if script else "script-src 'none'",
        script=f"{_SMOOTHING}<script>{script}</script>" if script else "",
        title=escape(title),
        subtitle=escape(subtitle),
        tiles="\n".join(tiles),
        sections="\n".join(filter(None, sections)),
        styles=styles,
        palette=style(_HERE, "palette.css"),
    )


def in_a_script(value: Any) -> str:
    """The value as JSON that no HTML parser takes for an end of its element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def tile(number: str, *names: str, verdict: Kind = "", about: str = "") -> str:
    """One number with its name under it, and more lines where more names are given."""
    kind = f"tile {verdict}".strip()
    hover = f' title="{escape(about)}"' if about else ""
    told = "".join(f"<span>{escape(name)}</span>" for name in names)
    return f'<div class="{kind}"{hover}><b>{escape(number)}</b>{told}</div>'


def section(heading: str, about: str, inner: str, *, wide: bool = True, mark: str = "") -> str:
    """A card with a heading, a sentence that explains it and its content. `mark` is HTML beside the heading."""
    kind = ' class="wide"' if wide else ""
    told = f"<p>{escape(about)}</p>" if about else ""
    return f"<section{kind}><h2>{escape(heading)}{f' {mark}' if mark else ''}</h2>{told}{inner}</section>"


def table(head: Iterable[str | tuple[str, Kind]], rows: Iterable[str]) -> str:
    """A table that scrolls sideways on its own where it is wide. A head is a name, or a name with its cells' kind."""
    pairs = [(one, "") if isinstance(one, str) else one for one in head]
    cells = "".join(f"<th{_kind(kind)}>{escape(name)}</th>" for name, kind in pairs)
    top = f"<thead><tr>{cells}</tr></thead>" if cells else ""
    return f'<div class="scroll" tabindex="0"><table>{top}<tbody>{"".join(rows)}</tbody></table></div>'


def row(cells: Iterable[tuple[str, Kind]], *, more: str = "") -> str:
    """A row of a table from texts and their kinds. `more` is HTML of further cells."""
    return f"<tr>{''.join(cell(text, kind) for text, kind in cells)}{more}</tr>"


def cell(text: str, kind: Kind = "") -> str:
    """One cell of a table."""
    return f"<td{_kind(kind)}>{escape(text)}</td>"


def figure_cell(
    value: float | None, low: float | None = None, high: float | None = None, n: int | None = None, *, why: str = ""
) -> str:
    """A cell with a figure, its interval, or `why` it has none, and how many it is of; an empty one without a
    figure."""
    if value is None:
        return "<td></td>"
    small = ", ".join(filter(None, (interval(low, high) or why, "" if n is None else f"n {n:,}")))
    return f'<td class="figure"><b>{number(value)}</b> <span>{small}</span></td>'


def number(value: float | None, digits: int = 3) -> str:
    """A number as people read it: with a true minus, and no sign at zero."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return (text if float(text) else text.lstrip("-")).replace("-", "\N{MINUS SIGN}")


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval in words; empty where an end is missing."""
    return "" if low is None or high is None else f"{number(low, digits)} to {number(high, digits)}"


def folded(name: str, inner: str, *, shown: bool = False) -> str:
    """Content that is shown when its name is clicked."""
    return f"<details{' open' if shown else ''}><summary>{escape(name)}</summary><div>{inner}</div></details>"


def badge(text: str, verdict: Kind = "") -> str:
    """A word in a frame, coloured by a verdict."""
    return f'<span class="{f"badge {verdict}".strip()}">{escape(text)}</span>'


def sentences(lines: Sequence[str]) -> str:
    """A list of sentences."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
