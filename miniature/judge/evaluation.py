"""Measures a judge of this world: P(met) against the truth, in figures.

Guarantees: Pure arithmetic over verdicts, wherever they come from (a model in this process, the service).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from miniature.world.cases import Case
from miniature.world.clinic import held_out


@dataclass(frozen=True, slots=True)
class Verdict:
    """One P(met) with the truth. `tags` name the groups that it is reported in."""

    p: float
    met: bool
    tags: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        return (self.p >= 0.5) == self.met


@dataclass(frozen=True, slots=True)
class Figures:
    verdicts: int
    accuracy: float
    calibration_error: float
    auroc: float | None
    brier: float
    by_tag: dict[str, tuple[int, float]]


def verdicts(case: Case, p: Sequence[float]) -> list[Verdict]:
    """The case's P(met), in the order of its criteria, as verdicts. Raises ValueError where one is missing."""
    rows = zip(case.criteria, case.met, p, strict=True)
    return [
        Verdict(chance, met, (criterion.kind, *_novelty(case, n))) for n, (criterion, met, chance) in enumerate(rows)
    ]


def _novelty(case: Case, n: int) -> tuple[str, ...]:
    item = case.criteria[n].item
    return () if item is None else ("held-out" if held_out(case.topic, item) else "known",)


def figures(judged: Sequence[Verdict], *, bins: int = 15) -> Figures:
    """Everything measured, over at least one verdict."""
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in judged:
        for tag in verdict.tags:
            groups[tag].append(verdict)
    return Figures(
        verdicts=len(judged),
        accuracy=accuracy(judged),
        calibration_error=calibration_error(judged, bins=bins),
        auroc=auroc(judged),
        brier=sum((v.p - v.met) ** 2 for v in judged) / len(judged),
        by_tag={tag: (len(group), accuracy(group)) for tag, group in sorted(groups.items())},
    )


def accuracy(judged: Sequence[Verdict]) -> float:
    """The share of verdicts that are right at the threshold 0.5."""
    return sum(v.right for v in judged) / len(judged)


def calibration_error(judged: Sequence[Verdict], *, bins: int) -> float:
    """Expected calibration error: |mean P(met) - share met| of equal-width bins of P(met), weighted by verdicts."""
    binned: dict[int, list[Verdict]] = defaultdict(list)
    for verdict in judged:
        binned[min(int(verdict.p * bins), bins - 1)].append(verdict)
    return sum(abs(sum(v.p for v in one) - sum(v.met for v in one)) for one in binned.values()) / len(judged)


def auroc(judged: Iterable[Verdict]) -> float | None:
    """The chance that a met criterion has a higher P(met) than an unmet one, ties counted half; None without both."""
    ranked = sorted(judged, key=lambda v: v.p)
    ranks, start = 0.0, 0
    while start < len(ranked):
        end = start
        while end < len(ranked) and ranked[end].p == ranked[start].p:
            end += 1
        ranks += sum(v.met for v in ranked[start:end]) * (start + end + 1) / 2
        start = end
    positive = sum(v.met for v in ranked)
    negative = len(ranked) - positive
    return (ranks - positive * (positive + 1) / 2) / (positive * negative) if positive and negative else None
