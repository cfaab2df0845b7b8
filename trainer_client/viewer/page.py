"""Puts scored responses, and the script that shows them, into one HTML file that asks for nothing else.

Guarantees: what the responses say cannot become markup or run, since it is held as JSON without a `<`, and the page
allows no script and no style but its own, which are named by their digests.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from trainer_client.pages.assembly import digest, script, style
from trainer_client.pages.document import in_a_script
from trainer_client.viewer.columns import Source, pack

_HERE = Path(__file__).parent
_FILE_FILTER = '<label>File <select id="file"><option value="-1">all</option></select></label>'
_COMPARE_TAB = '<button type="button" role="tab" id="tab-compare" aria-controls="compare">Compare</button>'


def page(sources: Sequence[Source]) -> str:
    """The whole page as HTML."""
    several = len(sources) > 1
    styles, code = style(_HERE, "shared/palette.css", "view.css"), script(_HERE / "scripts", "main.js")
    title = " and ".join(source.name for source in sources)
    return Template(_text("view.html")).substitute(
        title=escape(title),
        subtitle=escape(_subtitle(sources)),
        style=styles,
        style_digest=digest(styles),
        script=code,
        script_digest=digest(code),
        data=in_a_script(pack(sources)),
        file_filter=_FILE_FILTER if several else "",
        compare_tab=_COMPARE_TAB if several else "",
        compare_panel=_text("compare.html") if several else "",
    )


def write(sources: Sequence[Source], path: Path) -> None:
    """Writes the page. A half of a surrogate pair in a text, which UTF-8 cannot hold, is written as JSON's escape."""
    path.write_text(page(sources), encoding="utf-8", errors="backslashreplace", newline="\n")


def _subtitle(sources: Sequence[Source]) -> str:
    rollouts = [one for source in sources for one in source.rollouts]
    scored = sum(one.score is not None for one in rollouts)
    judges = sorted({one.judge for one in rollouts if one.judge})
    judged = f"; judged by {', '.join(judges)}" if judges else ""
    return f"{len(rollouts):,} responses, {scored:,} with a score{judged}"


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
