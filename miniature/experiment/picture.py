"""The study as a picture: every run's exact reward at its end; for a few arms the curves that led there, too.

Guarantees: No arm is left out: where there are more than the colours can tell apart, the picture has no curves.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from miniature.experiment.arms import Setting
from miniature.experiment.table import label
from miniature.world.tasks import best_constant, topics

_COLOURS = ("#0b6e4f", "#c1440e", "#3a6ea5", "#8d6a9f", "#b08900", "#5b5b5b", "#00838f")
_WINDOW = 10
_CONSTANT = "best constant answer (6 steps)"
Results = Sequence[Mapping[str, Any]]


def draw(results: Results, lines: Sequence[Sequence[Mapping[str, float]]], out: Path) -> None:
    """`lines` are each result's metrics during training, in the same order."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    agreements = {result["setting"].get("agreement", 1.0) for result in results if _errs(result)}
    if len(agreements) > 1:
        figure = _by_agreement([result for result in results if _errs(result)])
    elif len(set(map(label, results))) > len(_COLOURS):
        figure = _ends(results)
    else:
        figure = _curves(results, lines)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def _errs(result: Mapping[str, Any]) -> bool:
    return bool(result["setting"]["reward"] == "erring")


def _exact(result: Mapping[str, Any]) -> float:
    return float(result["splits"]["train"]["exact_reward"])


def _curves(results: Results, lines: Sequence[Sequence[Mapping[str, float]]]) -> Any:
    from matplotlib import pyplot

    figure, (curves, best) = pyplot.subplots(1, 2, figsize=(13, 5.6), layout="constrained")
    names = [label(result) for result in results]
    for arm, colour in zip(dict.fromkeys(names), _COLOURS, strict=False):
        own = [place for place, name in enumerate(names) if name == arm]
        for place in own:
            points = [(line["step"], line["reward/bare"]) for line in lines[place] if "reward/bare" in line]
            curves.plot(*_smoothed(points), color=colour, linewidth=1.2)
        tops = [results[place]["splits"]["train"]["exact_best_of"] for place in own]
        sizes = [int(n) for n in tops[0]]
        best.plot(sizes, [mean(top[str(n)] for top in tops) for n in sizes], color=colour, marker="o", label=arm)
    for axes in (curves, best):
        axes.axhline(_constant(), color="black", linewidth=0.8, linestyle=":", label=_CONSTANT)
        axes.grid(alpha=0.25)
        axes.set_ylabel("reward on the bare prompt")
    figure.legend(*best.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    curves.set(xlabel="step", title=f"rollouts that were shown nothing, mean of {_WINDOW} steps, as rewarded")
    best.set(xlabel="N", title="best of N answers after training, prompts trained on, exact truth")
    best.set_xscale("log", base=2)
    best.set_xticks(sizes, [str(n) for n in sizes])
    return figure


def _ends(results: Results) -> Any:
    """A row each arm and setting: a point a seed, and a bar for their mean."""
    from matplotlib import pyplot

    names = list(dict.fromkeys(map(label, results)))
    figure, axes = pyplot.subplots(figsize=(10, 1.4 + 0.32 * len(names)), layout="constrained")
    for row, name in enumerate(names):
        own = [_exact(result) for result in results if label(result) == name]
        axes.barh(row, mean(own), height=0.6, color=_COLOURS[2], alpha=0.25)
        axes.plot(own, [row] * len(own), "o", color=_COLOURS[2], markersize=5)
    axes.axvline(_constant(), color="black", linewidth=0.8, linestyle=":", label=_CONSTANT)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.25)
    axes.set(xlabel="reward on the bare prompt after training, exact truth; a point is a seed, a bar their mean")
    axes.legend(loc="lower right", fontsize=9, frameon=False)
    return figure


def _by_agreement(results: Results) -> Any:
    """A line each arm: the exact reward at the end, over how far the judge agrees with the truth."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5.4), layout="constrained")
    for arm, colour in zip(dict.fromkeys(result["arm"] for result in results), _COLOURS, strict=False):
        own = [(Setting(**one["setting"]).agreement, _exact(one)) for one in results if one["arm"] == arm]
        levels = sorted({level for level, _ in own})
        axes.plot([level for level, _ in own], [value for _, value in own], "o", color=colour, alpha=0.4, markersize=4)
        means = [mean(value for at, value in own if at == level) for level in levels]
        axes.plot(levels, means, color=colour, linewidth=1.8, label=arm)
    axes.axhline(_constant(), color="black", linewidth=0.8, linestyle=":", label=_CONSTANT)
    axes.grid(alpha=0.25)
    axes.set(
        xlabel="agreement of the judge's reward with the exact one, a correlation within prompts",
        ylabel="reward on the bare prompt after training, exact truth",
    )
    axes.legend(loc="best", fontsize=9, frameon=False)
    return figure


def _constant() -> float:
    return best_constant(topics("train"), 6)[1]


def _smoothed(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    values = [value for _, value in points]
    means = [mean(values[max(0, n - _WINDOW + 1) : n + 1]) for n in range(len(values))]
    return [step for step, _ in points], means
