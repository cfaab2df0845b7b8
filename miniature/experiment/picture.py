"""The study as a picture: reward on the bare prompt during training, and the best of N answers at its end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from miniature.world.tasks import best_constant, topics

_COLOURS = ("#0b6e4f", "#c1440e", "#3a6ea5", "#8d6a9f", "#b08900", "#5b5b5b", "#00838f")
_WINDOW = 10


def draw(results: Sequence[Mapping[str, Any]], lines: Mapping[Path, Sequence[Mapping[str, float]]], out: Path) -> None:
    """`lines` are each run's metrics, by its folder, whose name begins with its arm and seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (curves, best) = pyplot.subplots(1, 2, figsize=(13, 5.6), layout="constrained")
    arms = list(dict.fromkeys(result["arm"] for result in results))
    for arm, colour in zip(arms, _COLOURS, strict=False):
        runs = [own for folder, own in lines.items() if folder.name.rsplit("-", 1)[0] == arm]
        for run in runs:
            points = [(line["step"], line["reward/bare"]) for line in run if "reward/bare" in line]
            curves.plot(*_smoothed(points), color=colour, linewidth=1.2)
        tops = [result["splits"]["train"]["best_of"] for result in results if result["arm"] == arm]
        sizes = [int(n) for n in tops[0]]
        best.plot(sizes, [mean(top[str(n)] for top in tops) for n in sizes], color=colour, marker="o", label=arm)
    constant = best_constant(topics("train"), 6)[1]
    for axes in (curves, best):
        axes.axhline(constant, color="black", linewidth=0.8, linestyle=":", label="best constant answer (6 steps)")
        axes.grid(alpha=0.25)
        axes.set_ylabel("reward on the bare prompt")
    figure.legend(*best.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    curves.set(xlabel="step", title=f"rollouts that were shown nothing, mean of {_WINDOW} steps, by the judge")
    best.set(xlabel="N", title="best of N answers after training, prompts trained on, by the judge")
    best.set_xscale("log", base=2)
    best.set_xticks(sizes, [str(n) for n in sizes])
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def _smoothed(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    values = [value for _, value in points]
    means = [mean(values[max(0, n - _WINDOW + 1) : n + 1]) for n in range(len(values))]
    return [step for step, _ in points], means
