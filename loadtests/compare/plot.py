"""The ratios as a picture: how many times its cold verdicts a second ours gives, a bar a contestant and model."""

from pathlib import Path
from typing import Any

from loadtests.compare.figures import PEERS

_NAMES = {
    "raw": "the engine alone\n(offline, token ids)",
    "generative_scoring": "vLLM /generative_scoring\na call a response",
    "one_token_chat": "chat, one token\na call a criterion",
    "json_per_criterion": "published pattern\nJSON a criterion",
    "library": "PyPI package\n`rubric`",
}
_COLOURS = {"compute": "#2f6f9f", "request": "#d98c3f"}


def plot(facts: dict[str, Any], file: Path) -> None:
    """Write the picture; a contestant without a ratio gets a word in place of its bar."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 4.4), layout="constrained")
    axes = figure.subplots()
    kinds = [kind for kind in _COLOURS if kind in facts["ratios"]]
    height = 0.8 / max(1, len(kinds))
    for place, kind in enumerate(kinds):
        values = [facts["ratios"][kind][peer] for peer in PEERS]
        rows = [row + (place - (len(kinds) - 1) / 2) * height for row in range(len(PEERS))]
        size = facts["models"][kind]["parameters"] / 1e6
        name = f"{size:.3g}M parameters ({kind}-bound)"
        axes.barh(rows, [value or 1 for value in values], height * 0.92, color=_COLOURS[kind], label=name, left=0)
        for row, value in zip(rows, values, strict=True):
            text = "not measured" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"
            axes.text(max(value or 1, 1) * 1.04, row, text, va="center", fontsize=9)
    axes.set_yticks(range(len(PEERS)), [_NAMES[peer] for peer in PEERS])
    axes.invert_yaxis()
    axes.axvline(1, color="0.3", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.5, max([2.0, *(v for kind in kinds for v in facts["ratios"][kind].values() if v)]) * 1.6)
    axes.set_xlabel("verdicts a second of the service with vLLM, over this one's (cold, same work, log scale)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(file, dpi=150)
