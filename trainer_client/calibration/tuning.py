"""Compares prompts of a judge on labelled rows, and says what choosing the best of them is worth on other rows.

Shapes: (A, N) for A prompts and N criteria.

Guarantees: prompts are compared on the same criteria. P(met) is calibrated on rows of other conversations. What the
choice is worth is measured on folds that took no part in it, so that the winner's luck is in no figure. The first
prompt stays unless another one is better by more than a standard error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import Figure, Statistic, figures, numbered
from trainer_client.calibration.choice import folds
from trainer_client.calibration.curves import Bools, Floats, apply, fit_line
from trainer_client.labels import Judged, JudgedCriterion, Labels

MOST_UNJUDGED = 0.1
"""A prompt without a verdict on a larger share of the labelled criteria is not compared."""
Groups = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Asked:
    """A judge in one prompt; `name` tells it from the others."""

    name: str
    judged: Judged


@dataclass(frozen=True, slots=True)
class Compared:
    """One prompt. `log_loss` is that of P(met) calibrated on other conversations, `raw_log_loss` of P(met) as it came;
    `chosen` counts the folds whose other rows chose it. `label_mass` is the median."""

    name: str
    label_mass: float
    auroc: Figure
    log_loss: Figure
    raw_log_loss: Figure
    chosen: int


@dataclass(frozen=True, slots=True)
class Tuned:
    """`winner` is the name of the prompt to use. `worth` has what choosing gives on rows that took no part: `auroc`,
    `log_loss`, and their gains over the first prompt. `left_out` says why a prompt was not compared."""

    criteria: int
    prompts: int
    compared: Sequence[Compared]
    left_out: dict[str, str]
    winner: str
    worth: dict[str, Figure]

    def as_json(self) -> dict[str, Any]:
        return {
            "criteria": self.criteria,
            "prompts": self.prompts,
            "winner": self.winner,
            "worth": {name: figure.as_json() for name, figure in self.worth.items()},
            "left_out": self.left_out,
            "compared": [
                {
                    "name": one.name,
                    "label_mass": one.label_mass,
                    "auroc": one.auroc.as_json(),
                    "log_loss": one.log_loss.as_json(),
                    "raw_log_loss": one.raw_log_loss.as_json(),
                    "chosen": one.chosen,
                }
                for one in self.compared
            ],
        }


def tune(labels: Labels, asked: Sequence[Asked], *, seed: int = 0) -> Tuned:
    """Raises ValueError where the labels are of one kind or one conversation, or no prompt has enough verdicts."""
    labelled = [
        n for n, one in enumerate(asked[0].judged.criteria) if one.met_label is not None and one.source != "rule"
    ]
    left_out = {one.name: reason for one in asked if (reason := _lacking(one.judged, labelled)) is not None}
    arms = [one for one in asked if one.name not in left_out]
    kept = [n for n in labelled if all(_judged(one.judged.criteria[n]) for one in arms)]
    first = [asked[0].judged.criteria[n] for n in kept]
    met = np.array([bool(one.met_label) for one in first])
    groups = numbered([labels.items[one.item].group for one in first])
    if not arms or met.all() or not met.any() or len(set(groups.tolist())) < 4:
        why = f"; without verdicts: {', '.join(left_out)}" if left_out else ""
        raise ValueError(f"labels of four conversations, met and not met, and verdicts on them are needed{why}")
    p = np.array([[one.judged.criteria[n].p_raw for n in kept] for one in arms], dtype=np.float64)
    chosen, worth = _nested(p, met, groups, seed)
    return Tuned(
        criteria=len(kept),
        prompts=int(groups.max()) + 1,
        compared=[_compared(one, kept, p[n], met, groups, seed, chosen.count(n)) for n, one in enumerate(arms)],
        left_out=left_out,
        winner=arms[choose(p, met, groups, seed)].name,
        worth=worth,
    )


def choose(p: Floats, met: Bools, groups: Groups, seed: int) -> int:
    """The first prompt whose calibrated log loss is within a standard error of the best one's."""
    losses = np.stack([_losses(cross_fitted(own, met, groups, seed), met) for own in p])
    best = losses[int(losses.mean(axis=1).argmin())]
    return next(n for n, own in enumerate(losses) if (own - best).mean() <= _standard_error(own - best, groups))


def cross_fitted(p: Floats, met: Bools, groups: Groups, seed: int) -> Floats:
    """P(met), each calibrated by a line on the log-odds that was fitted to other conversations. (N,)"""
    found = np.full(len(p), np.nan)
    for fitted, held_out in folds(groups, seed):
        found[held_out] = apply(fit_line(p[fitted], met[fitted]), p[held_out], None)
    return found


def _nested(p: Floats, met: Bools, groups: Groups, seed: int) -> tuple[list[int], dict[str, Figure]]:
    """Which prompt each fold's other rows choose, and what these choices are worth on the folds."""
    chosen: list[int] = []
    found = np.full(p.shape[1], np.nan)
    for fitted, held_out in folds(groups, seed):
        winner = choose(p[:, fitted], met[fitted], groups[fitted], seed + 1)
        found[held_out] = apply(fit_line(p[winner, fitted], met[fitted]), p[winner, held_out], None)
        chosen.append(winner)
    plain = cross_fitted(p[0], met, groups, seed)
    gain = _losses(plain, met) - _losses(found, met)

    def auroc_gain(weights: Floats) -> Floats:
        return statistics.auroc(met, found, weights) - statistics.auroc(met, plain, weights)

    measures: dict[str, Statistic] = {
        "auroc": partial(statistics.auroc, met, found),
        "log_loss": partial(statistics.log_loss, met, found),
        "auroc_gain": auroc_gain,
        "log_loss_gain": partial(statistics.mean, gain),
    }
    return chosen, figures(measures, groups)


def _compared(
    asked: Asked, kept: Sequence[int], p: Floats, met: Bools, groups: Groups, seed: int, chosen: int
) -> Compared:
    measures = {
        "auroc": partial(statistics.auroc, met, p),
        "log_loss": partial(statistics.log_loss, met, cross_fitted(p, met, groups, seed)),
        "raw_log_loss": partial(statistics.log_loss, met, p),
    }
    masses = [mass for n in kept if (mass := asked.judged.criteria[n].label_mass) is not None]
    mass = float(np.median(masses)) if masses else float("nan")
    return Compared(asked.name, mass, chosen=chosen, **figures(measures, groups))


def _lacking(judged: Judged, labelled: Sequence[int]) -> str | None:
    """Why a prompt is not compared; None where it is."""
    missing = [judged.criteria[n].status for n in labelled if not _judged(judged.criteria[n])]
    if len(missing) <= MOST_UNJUDGED * len(labelled):
        return None
    return f"no verdict on {len(missing)} of {len(labelled)} criteria, such as `{missing[0]}`"


def _judged(one: JudgedCriterion) -> bool:
    return one.status == "ok" and one.p_raw is not None


def _losses(p: Floats, met: Bools) -> Floats:
    inside = np.clip(p, 1e-12, 1 - 1e-12)
    return -np.where(met, np.log(inside), np.log1p(-inside))


def _standard_error(differences: Floats, groups: Groups) -> float:
    """Of the mean of differences that hang together in groups."""
    sums = np.bincount(groups, weights=differences - differences.mean())
    return float(np.sqrt((sums**2).sum()) / len(differences))
