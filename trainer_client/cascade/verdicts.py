"""Holds the labelled verdicts of several judges as arrays, and says what a cascade of them decides.

Shapes: N criteria, J judges in the order in which they are asked, G prompts.

Guarantees: a verdict that is missing decides nothing; one without P(met) is passed on wherever a band is asked for. A
criterion that no judge decides counts as a disagreement with its label.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trainer_client.agreement.bootstrap import numbered
from trainer_client.labels import JudgedCriterion, Labels
from trainer_client.wire.cascade_plan import CascadeBand

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]

Bands = tuple[CascadeBand | None, ...]
"""Of each judge; None where each of its verdicts stands, as it is for the last one."""

NOBODY = -1


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """`label` (N,); `decided`, `met` and `p` are (J, N): whether there is a verdict, which one, and P(met), NaN where
    there is none. `groups` and `responses` number the prompt and the response of each criterion."""

    label: Bools
    decided: Bools
    met: Bools
    p: Floats
    groups: Ints
    responses: Ints

    def __len__(self) -> int:
        return int(self.label.shape[0])

    @property
    def judges(self) -> int:
        return int(self.p.shape[0])

    @property
    def prompts(self) -> int:
        return len(np.unique(self.groups))

    def where(self, mask: Bools) -> "JudgedRows":
        return replace(
            self,
            label=self.label[mask],
            decided=self.decided[:, mask],
            met=self.met[:, mask],
            p=self.p[:, mask],
            groups=self.groups[mask],
            responses=self.responses[mask],
        )

    def wrong(self, judge: int) -> Floats:
        """Where the judge alone disagrees with the label or has no verdict. (N,)"""
        return np.asarray(~self.decided[judge] | (self.met[judge] != self.label), np.float64)

    def by_prompt(self, values: Floats) -> Floats:
        """The mean of each prompt. (G,)"""
        _, place = np.unique(self.groups, return_inverse=True)
        return np.asarray(np.bincount(place, values) / np.bincount(place), np.float64)


@dataclass(frozen=True, slots=True)
class Decided:
    """`by` is the number of the judge that decides a criterion, or NOBODY; `asked` (J, N) who is asked about it;
    `wrong` is 1 where the outcome is not the label."""

    by: Ints
    asked: Bools
    wrong: Floats


def cascade(rows: JudgedRows, bands: Bands) -> Decided:
    """What the judges decide in their order, each passing on what it is unsure of."""
    by = np.full(len(rows), NOBODY, np.intp)
    asked = np.zeros_like(rows.decided)
    wrong = np.ones(len(rows))
    for judge, band in enumerate(bands):
        asked[judge] = by == NOBODY
        stands = rows.decided[judge] & asked[judge]
        if band is not None:
            with np.errstate(invalid="ignore"):
                stands &= (rows.p[judge] < band.low) | (rows.p[judge] > band.high)
        by[stands] = judge
        wrong[stands] = rows.met[judge, stands] != rows.label[stands]
    return Decided(by, asked, wrong)


def judged_rows(
    labels: Labels, judged: Sequence[Sequence[JudgedCriterion]], without: Container[str] = frozenset()
) -> JudgedRows:
    """The criteria that have a label, but for those that a rule decides, graded ones and those of the groups in
    `without`. `judged` has what each judge said of all criteria of the labels."""
    chosen = [
        place
        for place, each in enumerate(zip(*judged, strict=True))
        if each[0].met_label is not None
        and each[0].plain
        and all(one.source != "rule" for one in each)
        and labels.items[each[0].item].group not in without
    ]
    first = [judged[0][place] for place in chosen]
    each = [[one[place] for place in chosen] for one in judged]
    nan = float("nan")
    return JudgedRows(
        label=np.array([bool(one.met_label) for one in first], np.bool_),
        decided=np.array([[one.status == "ok" and one.met is not None for one in own] for own in each], np.bool_),
        met=np.array([[bool(one.met) for one in own] for own in each], np.bool_),
        p=np.array([[nan if one.p is None else one.p for one in own] for own in each], np.float64),
        groups=numbered([labels.items[one.item].group for one in first]),
        responses=np.array([one.item for one in first], np.intp),
    )
