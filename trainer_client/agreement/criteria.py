"""Turns labels and verdicts into figures: how far a judge agrees on criteria, whole, by sign of points and by slice.

Guarantees: a criterion without a label is in no figure. One without a verdict is counted as not judged, and in no other
figure. What a rule of the service decided is not the judge's, and is left out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import RESAMPLES, Bounded, Figure, Statistic, figures, numbered, share
from trainer_client.agreement.statistics import Bools, Floats
from trainer_client.labels import Judged, Labels

HIGHER_IS_BETTER = ("accuracy", "balanced_accuracy", "f1", "kappa", "alpha", "auroc")
LOWER_IS_BETTER = (
    "ece",
    "brier",
    "log_loss",
    "false_positive_rate",
    "false_negative_rate",
    "false_positive_rate_wanted",
    "false_negative_rate_wanted",
    "false_positive_rate_fault",
    "false_negative_rate_fault",
    "abstained",
    "not_judged",
)
LANGUAGE = "language"
_FEWEST = 20
"""Criteria in a slice; of fewer a figure says too little."""
_MOST_SLICES = 40


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Labelled criteria as arrays (N,). `judged` says which have a verdict; `met`, `p` and `p_raw` mean something there
    alone. `p` is NaN where a verdict has no probability. `place` is the criterion's among all of `Judged.criteria`."""

    labels: Bools
    judged: Bools
    abstained: Bools
    met: Bools
    p: Floats
    p_raw: Floats
    points: Floats
    groups: NDArray[np.intp]
    characters: NDArray[np.intp]
    place: NDArray[np.intp]

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def where(self, mask: Bools) -> "Verdicts":
        return replace(self, **{name: getattr(self, name)[mask] for name in self.__slots__})


@dataclass(frozen=True, slots=True)
class Slice:
    """Figures of a part: `kind` is `tag`, `language` or `length`, `name` says which part."""

    kind: str
    name: str
    figures: Mapping[str, Figure]


def verdicts_of(labels: Labels, judged: Judged) -> Verdicts:
    """The criteria with a label that a judge was asked about, in order."""
    chosen = [
        (place, one) for place, one in enumerate(judged.criteria) if one.met_label is not None and one.source != "rule"
    ]
    groups = numbered([labels.items[one.item].group for _, one in chosen])
    lengths = [_characters(labels, item) for item in range(len(labels.items))]

    nan = float("nan")
    return Verdicts(
        labels=np.array([bool(one.met_label) for _, one in chosen], dtype=np.bool_),
        judged=np.array([one.met is not None for _, one in chosen], dtype=np.bool_),
        abstained=np.array([one.status == "abstained" for _, one in chosen], dtype=np.bool_),
        met=np.array([bool(one.met) for _, one in chosen], dtype=np.bool_),
        p=np.array([nan if one.p is None else one.p for _, one in chosen], dtype=np.float64),
        p_raw=np.array([nan if one.p_raw is None else one.p_raw for _, one in chosen], dtype=np.float64),
        points=np.array([one.points for _, one in chosen], dtype=np.float64),
        groups=groups,
        characters=np.array([lengths[one.item] for _, one in chosen], dtype=np.intp),
        place=np.array([place for place, _ in chosen], dtype=np.intp),
    )


def _characters(labels: Labels, item: int) -> int:
    response = labels.items[item].item.response
    return len(response) if isinstance(response, str) else sum(len(turn.content) for turn in response or ())


def criterion_figures(verdicts: Verdicts, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Figure]:
    """All figures of a judge's verdicts on criteria."""
    shares: dict[str, Statistic] = {
        "abstained": share(verdicts.abstained),
        "not_judged": share(~verdicts.judged),
    }
    found = figures(shares, verdicts.groups, resamples=resamples, seed=seed)
    judged = verdicts.where(verdicts.judged)
    found |= figures(_hard(judged), judged.groups, resamples=resamples, seed=seed)
    probable = judged.where(np.isfinite(judged.p))
    soft = _soft(probable.labels, probable.p, "")
    raw = probable.where(np.isfinite(probable.p_raw))
    if not np.array_equal(probable.p, probable.p_raw, equal_nan=True):
        found |= figures(_soft(raw.labels, raw.p_raw, "_raw"), raw.groups, resamples=resamples, seed=seed)
    found |= figures(soft, probable.groups, resamples=resamples, seed=seed)
    for name, sign in (("wanted", 1), ("fault", -1)):
        part = judged.where(np.sign(judged.points) == sign)
        rates = {f"{rate}_{name}": statistic for rate, statistic in error_rates(part.labels, part.met).items()}
        found |= figures(rates, part.groups, resamples=resamples, seed=seed)
    return found


def error_rates(labels: Bools, met: Bools) -> dict[str, Bounded]:
    """Of what is not met, and of what is met, the share that the judge gets wrong."""
    return {
        "false_positive_rate": Bounded(partial(statistics.false_positive_rate, labels, met), ~labels),
        "false_negative_rate": Bounded(partial(statistics.false_negative_rate, labels, met), labels),
    }


def _hard(judged: Verdicts) -> dict[str, Statistic]:
    labels, met = judged.labels, judged.met
    yes = labels.astype(np.float64) + met
    return {
        "accuracy": share(labels == met),
        "balanced_accuracy": partial(statistics.balanced_accuracy, labels, met),
        "f1": partial(statistics.f1, labels, met),
        "kappa": partial(statistics.kappa, labels, met),
        "alpha": partial(statistics.alpha, yes, 2 - yes),
        **error_rates(labels, met),
        "met": share(met),
        "met_label": share(labels),
    }


def _soft(labels: Bools, p: Floats, ending: str) -> dict[str, Statistic]:
    return {
        f"auroc{ending}": partial(statistics.auroc, labels, p),
        f"ece{ending}": Bounded(partial(statistics.ece, labels, p)),
        f"brier{ending}": share((p - labels) ** 2),
        f"log_loss{ending}": partial(statistics.log_loss, labels, p),
    }


def reliability(verdicts: Verdicts, *, resamples: int = RESAMPLES, seed: int = 0) -> list[dict[str, object]]:
    """For each of ten bins of P(met) that holds a verdict: how many, the mean P, and the share whose label is met."""
    judged = verdicts.where(verdicts.judged & np.isfinite(verdicts.p))
    bins = statistics.bin_of(judged.p)
    found = []
    for number in range(statistics.BINS):
        part = judged.where(bins == number)
        if len(part):
            met = figures({"met": share(part.labels)}, part.groups, resamples=resamples, seed=seed)["met"]
            found.append({"bin": number, "n": len(part), "p": float(part.p.mean()), "met": met.as_json()})
    return found


def slices(labels: Labels, judged: Judged, verdicts: Verdicts, *, resamples: int = RESAMPLES) -> Iterator[Slice]:
    """The figures by tag, by the tag `language`, and by thirds of the responses' length. A part with fewer than twenty
    criteria is left out."""
    tags = [judged.criteria[place].tags for place in verdicts.place]
    counted = Counter((key, value) for own in tags for key, value in own.items())
    varied = Counter(key for key, _ in counted)
    chosen = [
        pair for pair, count in counted.most_common() if count >= _FEWEST and varied[pair[0]] > 1 and count < len(tags)
    ]
    for key, value in sorted(chosen[:_MOST_SLICES]):
        mask = np.array([own.get(key) == value for own in tags], dtype=np.bool_)
        kind, name = ("language", value) if key == LANGUAGE else ("tag", f"{key}:{value}")
        yield Slice(kind, name, criterion_figures(verdicts.where(mask), resamples=resamples))
    yield from _lengths(verdicts, resamples)


def _lengths(verdicts: Verdicts, resamples: int) -> Iterator[Slice]:
    if len(verdicts) < 3 * _FEWEST:
        return
    low, high = (int(edge) for edge in np.quantile(verdicts.characters, [1 / 3, 2 / 3]))
    size = verdicts.characters
    for name, mask in (
        (f"up to {low} characters", size <= low),
        (f"{low + 1} to {high} characters", (size > low) & (size <= high)),
        (f"more than {high} characters", size > high),
    ):
        if mask.sum() >= _FEWEST:
            yield Slice("length", name, criterion_figures(verdicts.where(mask), resamples=resamples))
