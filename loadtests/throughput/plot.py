"""The ratios as a picture: how many times its cold verdicts a second ours gives, a bar a baseline and model."""

from pathlib import Path
from typing import Any

from loadtests.throughput.figures import PEERS

_NAMES = {
    "raw": "the engine alone\n(offline, token ids)",
    "generative_scoring": "vLLM /generative_scoring\na call a response",
    "one_token_chat": "chat, one token\na call a criterion",
    "json_per_criterion": "published pattern\nJSON a criterion",
    "json_greedy": "the same pattern,\nlikeliest tokens",
    "library": "PyPI package\n`rubric`",
}
_COLOURS = {"compute": "#2f6f9f", "request": "#d98c3f"}


def plot(facts: dict[str, Any], file: Path) -> None:
    """Write the picture; a baseline without a ratio gets a word in place of its bar."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 5.0), layout="constrained")
    axes = figure.subplots()
    kinds = [kind for kind in _COLOURS if kind in facts["ratios"]]
    height = 0.8 / max(1, len(kinds))
    for place, kind in enumerate(kinds):
        ratios = facts["ratios"][kind]
        rows = {peer: row + (place - (len(kinds) - 1) / 2) * height for row, peer in enumerate(PEERS)}
        measured = [peer for peer in PEERS if ratios[peer] is not None]
        size = facts["models"][kind]["parameters"] / 1e6
        axes.barh(
            [rows[peer] for peer in measured],
            [ratios[peer] - 1 for peer in measured],
            height * 0.9,
            left=1,
            color=_COLOURS[kind],
            label=f"{size:.2g}M parameters, {kind}-bound" if size < 10 else f"{size:.0f}M parameters, {kind}-bound",
        )
        for peer, row in rows.items():
            value = ratios[peer]
            text = "not measured" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"
            axes.text(max(value or 1, 1) * 1.04, row, text, va="center", fontsize=9)
    axes.set_yticks(range(len(PEERS)), [_NAMES[peer] for peer in PEERS])
    axes.invert_yaxis()
    axes.axvline(1, color="0.3", linewidth=1)
    largest = max([2.0, *(v for kind in kinds for v in facts["ratios"][kind].values() if v)])
    axes.set_xscale("log")
    axes.set_xlim(0.5, largest * 1.6)
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if tick <= largest * 1.6]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("verdicts a second of the service with vLLM over theirs (cold, same work, log scale)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside upper right", ncols=2, fontsize=9)
    figure.savefig(file, dpi=150)
