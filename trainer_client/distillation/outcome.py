"""Says what a distilled judge has learned: its agreement with labels and with its teacher, before and after. Pure.

Guarantees: figures are on rows that were not learned from, with intervals by bootstrap over prompts. A figure that
cannot be computed is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import Bounded, Figure, Statistic, figures, numbered, share
from trainer_client.distillation.examples import Example

Floats = NDArray[np.float64]
CERTAIN = 0.5
"""From here on a target counts as met."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Figures of the judge before and after on one set of rows, against one source of truth, and the gain in AUROC."""

    rows: str
    against: str
    before: Mapping[str, Figure]
    after: Mapping[str, Figure]
    gain: Figure


def agreements(rows: str, examples: Sequence[Example], before: Floats, after: Floats, taught: bool) -> list[Agreement]:
    """The agreement with the labels, where there are any, and with the teacher, where there is one."""
    found = []
    labelled = np.array([one.label is not None for one in examples], dtype=np.bool_)
    if labelled.any():
        truth = np.array([bool(one.label) for one in examples], dtype=np.bool_)
        found.append(_agreement(rows, "labels", _groups(examples), truth, before, after, labelled))
    if taught:
        targets = np.array([one.target for one in examples])
        everything = np.ones(len(examples), dtype=np.bool_)
        found.append(_agreement(rows, "teacher", _groups(examples), targets >= CERTAIN, before, after, everything))
    return found


def _groups(examples: Sequence[Example]) -> NDArray[np.intp]:
    return numbered([one.group for one in examples])


def _agreement(
    rows: str,
    against: str,
    groups: NDArray[np.intp],
    truth: NDArray[np.bool_],
    before: Floats,
    after: Floats,
    mask: NDArray[np.bool_],
) -> Agreement:
    groups, truth, before, after = groups[mask], truth[mask], before[mask], after[mask]
    gain: dict[str, Statistic] = {
        "auroc": lambda weights: statistics.auroc(truth, after, weights) - statistics.auroc(truth, before, weights)
    }
    return Agreement(
        rows,
        against,
        figures(_statistics(truth, before), groups),
        figures(_statistics(truth, after), groups),
        figures(gain, groups)["auroc"],
    )


def _statistics(truth: NDArray[np.bool_], p: Floats) -> dict[str, Statistic]:
    return {
        "auroc": partial(statistics.auroc, truth, p),
        "accuracy": share(truth == (p >= CERTAIN)),
        "log_loss": partial(statistics.log_loss, truth, p),
        "ece": Bounded(partial(statistics.ece, truth, p)),
    }
