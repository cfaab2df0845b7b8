"""The study as a picture: reward on the bare prompt during training, and the best of N answers at its end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from miniature.experiment.table import label
from miniature.world.tasks import best_constant, topics

_COLOURS = ("#0b6e4f", "#c1440e", "#3a6ea5", "#8d6a9f", "#b08900", "#5b5b5b", "#00838f")
_WINDOW = 10


def draw(results: Sequence[Mapping[str, Any]], lines: Sequence[Sequence[Mapping[str, float]]], out: Path) -> None:
    """`lines` are each result's metrics during training, in the same order."""
    import matplotlib

    matplotlib.use("Agg")
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
    constant = best_constant(topics("train"), 6)[1]
    for axes in (curves, best):
        axes.axhline(constant, color="black", linewidth=0.8, linestyle=":", label="best constant answer (6 steps)")
        axes.grid(alpha=0.25)
        axes.set_ylabel("reward on the bare prompt")
    figure.legend(*best.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    curves.set(xlabel="step", title=f"rollouts that were shown nothing, mean of {_WINDOW} steps, as rewarded")
    best.set(xlabel="N", title="best of N answers after training, prompts trained on, exact truth")
    best.set_xscale("log", base=2)
    best.set_xticks(sizes, [str(n) for n in sizes])
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def _smoothed(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    values = [value for _, value in points]
    means = [mean(values[max(0, n - _WINDOW + 1) : n + 1]) for n in range(len(values))]
    return [step for step, _ in points], means
