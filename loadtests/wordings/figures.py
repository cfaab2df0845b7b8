"""Computes how well a prompt tells criteria that are met from those that are not, with and without the judge's bias.

Three scores are compared: the log-odds of P(met); these less those of a criterion that says nothing on the same
response; and these less those of the same criterion on an empty response. Intervals are over conversations.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.wordings.sets import PRIOR, LabelledSet
from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import Figure, figures, numbered, share
from trainer_client.agreement.shown import text as shown
from trainer_client.labels import Judged, JudgedCriterion

SCORES = ("raw", "less criterion", "less response")
OTHERS = ("vague", "off", "empty")
"""What a good answer written by hand is compared with."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A prompt on a set. `auroc` and `order` are by score; `order` is the share of pairs of responses to one
    conversation in which the one that meets a criterion has the higher score, ties counting half; `over` the same by
    what a good answer is compared with. `saying_met` is the share that is met at 0.5, `label_mass` the median."""

    wording: str
    set: str
    criteria: int
    label_mass: float
    saying_met: float
    auroc: Mapping[str, Figure]
    order: Mapping[str, Figure]
    over: Mapping[str, Figure]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measured(wording: str, one: LabelledSet, judged: Judged) -> Measured:
    """The control's P(met) counts as it is, so that a judge that reads is below one half there."""
    groups = [item.group for item in one.labels.items]
    labelled = [each for each in judged.criteria if each.met_label is not None and each.p_raw is not None]
    labels = np.array([bool(each.met_label) for each in labelled])
    place = numbered([groups[each.item] for each in labelled])
    scores = _scores(judged, groups, labelled)
    auroc = figures({name: _auroc(labels, values) for name, values in scores.items()}, place)
    pairs = list(_pairs(groups, labelled))
    right = {name: np.array([_right(values, pair) for pair in pairs]) for name, values in scores.items()}
    order = figures(
        {name: share(values) for name, values in right.items()}, numbered([groups[labelled[a].item] for a, _ in pairs])
    )
    return Measured(
        wording=wording,
        set=one.name,
        criteria=len(labelled),
        label_mass=float(np.median([each.label_mass for each in labelled if each.label_mass is not None])),
        saying_met=float(np.mean([(each.p_raw or 0.0) >= 0.5 for each in labelled])),
        auroc=auroc,
        order=order,
        over=_over(groups, labelled, pairs, right["raw"]),
    )


def _scores(
    judged: Judged, groups: Sequence[str], labelled: Sequence[JudgedCriterion]
) -> dict[str, NDArray[np.float64]]:
    """By name, one for each labelled criterion. Where no bias was asked for there is the raw score alone."""
    raw = np.array([_log_odds(each.p_raw) for each in labelled])
    on_response = {each.item: _log_odds(each.p_raw) for each in judged.criteria if each.criterion == PRIOR}
    empty = {
        (groups[each.item], each.text): _log_odds(each.p_raw)
        for each in judged.criteria
        if each.met_label is None and each.criterion != PRIOR
    }
    if not on_response or not empty:
        return {"raw": raw}
    return {
        "raw": raw,
        "less criterion": raw - np.array([on_response[each.item] for each in labelled]),
        "less response": raw - np.array([empty[groups[each.item], each.text] for each in labelled]),
    }


def _log_odds(p: float | None) -> float:
    if p is None:
        return float("nan")
    inside = min(max(p, 1e-9), 1 - 1e-9)
    return float(np.log(inside / (1 - inside)))


def _pairs(groups: Sequence[str], labelled: Sequence[JudgedCriterion]) -> Iterator[tuple[int, int]]:
    """Indexes of criteria with one text in one conversation, of which the first is met and the second is not."""
    by_text: dict[tuple[str, str], list[int]] = defaultdict(list)
    for n, each in enumerate(labelled):
        by_text[groups[each.item], each.text].append(n)
    for members in by_text.values():
        for a in members:
            yield from ((a, b) for b in members if labelled[a].met_label and not labelled[b].met_label)


def _right(values: NDArray[np.float64], pair: tuple[int, int]) -> float:
    higher = values[pair[0]] - values[pair[1]]
    return 0.5 if higher == 0 else float(higher > 0)


def _over(
    groups: Sequence[str],
    labelled: Sequence[JudgedCriterion],
    pairs: Sequence[tuple[int, int]],
    right: NDArray[np.float64],
) -> dict[str, Figure]:
    """Pairs with a good answer, by the kind of the other one. Empty for a set without such kinds."""
    found: dict[str, Figure] = {}
    for kind in OTHERS:
        chosen = [
            n for n, pair in enumerate(pairs) if {labelled[i].tags.get("response") for i in pair} == {"good", kind}
        ]
        if chosen:
            place = numbered([groups[labelled[pairs[n][0]].item] for n in chosen])
            found |= figures({kind: share(right[chosen])}, place)
    return found


def _auroc(labels: NDArray[np.bool_], values: NDArray[np.float64]) -> Any:
    return lambda weights: statistics.auroc(labels, values, weights)


def table(rows: Sequence[Measured]) -> str:
    """The figures as lines to read, with their intervals."""
    head = f"{'prompt':<14}{'mass':>6}{'met':>6}  " + "".join(f"{f'AUROC {name}':<24}" for name in SCORES)
    lines = []
    for name in dict.fromkeys(row.set for row in rows):
        own = [row for row in rows if row.set == name]
        others = [kind for kind in OTHERS if any(kind in row.over for row in own)]
        lines += ["", f"{name}, {max(row.criteria for row in own)} criteria"]
        lines += [head + f"{'order':<20}" + "".join(f"{f'good over {kind}':<20}" for kind in others)]
        for row in own:
            text = f"{row.wording:<14}{row.label_mass:>6.2f}{row.saying_met:>6.2f}  "
            text += "".join(f"{shown(row.auroc.get(score), 2):<24}" for score in SCORES)
            text += f"{shown(row.order['raw'], 2):<20}"
            text += "".join(f"{shown(row.over.get(kind), 2):<20}" for kind in others)
            lines.append(text.rstrip())
    return "\n".join(lines)
