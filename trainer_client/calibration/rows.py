"""Holds the labelled verdicts that a calibration is fitted to, as arrays.

Guarantees: a criterion without a verdict of the judge or without a label is in no array, and is counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer_client.agreement.bootstrap import numbered
from trainer_client.calibration.curves import Bools, Floats
from trainer_client.labels import Judged, JudgedCriterion, Labels

PriorOf = Literal["criterion", "response"]
MOST_WITHOUT_PRIOR = 0.05
"""A prior that has no verdict for more of the rows than this is not used at all."""


@dataclass(frozen=True, slots=True)
class Rows:
    """P(met) as the judge gave it, and what is known of each criterion. `groups` are numbers of prompts; `left_out`
    counts criteria by the reason why they are not here."""

    p: Floats
    met: Bools
    negative: Bools
    tags: Sequence[Mapping[str, str]]
    groups: NDArray[np.intp]
    priors: Mapping[PriorOf, Floats] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.p)

    def take(self, chosen: NDArray[np.intp]) -> "Rows":
        priors = {of: values[chosen] for of, values in self.priors.items()}
        tags = [self.tags[index] for index in chosen]
        return Rows(self.p[chosen], self.met[chosen], self.negative[chosen], tags, self.groups[chosen], priors)


def rows_of(labels: Labels, judged: Judged, priors: Mapping[PriorOf, Sequence[float | None]]) -> Rows:
    """`priors` have P(met) of the content-free query of each of `judged.criteria`, None where there is none."""
    left_out: Counter[str] = Counter()
    kept: list[int] = []
    for index, one in enumerate(judged.criteria):
        if (reason := _reason(one)) is None:
            kept.append(index)
        else:
            left_out[reason] += 1
    used: dict[PriorOf, Sequence[float | None]] = {}
    for of, values in priors.items():
        without = sum(values[index] is None for index in kept)
        if without <= MOST_WITHOUT_PRIOR * len(kept):
            used[of] = values
            left_out[f"prior of the {of} without a verdict"] += without
            kept = [index for index in kept if values[index] is not None]
    criteria = [judged.criteria[index] for index in kept]
    return Rows(
        p=np.array([one.p_raw for one in criteria], dtype=np.float64),
        met=np.array([one.met_label for one in criteria], dtype=np.bool_),
        negative=np.array([one.points < 0 for one in criteria], dtype=np.bool_),
        tags=[one.tags for one in criteria],
        groups=numbered([labels.items[one.item].group for one in criteria]),
        priors={of: np.array([values[index] for index in kept], dtype=np.float64) for of, values in used.items()},
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def _reason(one: JudgedCriterion) -> str | None:
    """Why the criterion tells nothing about the judge; None where it does."""
    if one.source == "rule":
        return "decided by a rule"
    if not one.plain:
        return "graded or extracted"
    if one.met_label is None:
        return "without a label"
    if one.status != "ok" or one.p_raw is None:
        return one.status
    return None
