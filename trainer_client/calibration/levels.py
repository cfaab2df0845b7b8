"""Fits how one judge's probabilities of levels become those that hold on labelled rows, and says what that gains.

Three are tried, from the simplest on: none, a temperature, and a temperature with a bias for each place (vector
scaling), which takes off what a judge gives to a letter whatever the response says.

Guarantees: a calibration is chosen over a simpler one where its loss on rows that it was not fitted to is lower by more
than a standard error. Too few labels make none. Places have a bias where each of them was labelled often enough.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer_client import wire
from trainer_client.agreement.bootstrap import Figure, figures, numbered
from trainer_client.agreement.statistics import mean
from trainer_client.calibration.choice import folds, standard_error
from trainer_client.errors import DataError
from trainer_client.labels import Judged, Labels

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Method = Literal["none", "temperature", "vector"]
METHODS: tuple[Method, ...] = ("none", "temperature", "vector")
LEAST, LEAST_GROUPS, LEAST_OF_PLACE = 60, 10, 10
NEAREST = 1e-9
"""A probability counts as no nearer to 0 than this. The service has the same bound."""
_RIDGE = 1.0
"""Pulls biases to 0, as if by one more label: without it a place that is never wrong would have none that is finite."""
_LEAST_SLOPE = 1e-3


@dataclass(frozen=True, slots=True)
class GradedRows:
    """By the number of options: log-probabilities (N, options), the labelled place of each, and which of all rows these
    are. `groups` are the prompts of all rows."""

    by_size: Mapping[int, tuple[Floats, Places, Places]]
    groups: NDArray[np.intp]

    def take(self, chosen: Places) -> "GradedRows":
        kept: dict[int, tuple[Floats, Places, Places]] = {}
        for size, (z, label, at) in self.by_size.items():
            own = np.isin(at, chosen)
            kept[size] = z[own], label[own], at[own]
        return GradedRows(kept, self.groups)


@dataclass(frozen=True, slots=True)
class Scaling:
    """`slope` is 1 over the temperature; `biases` are by the number of options."""

    slope: float = 1.0
    biases: Mapping[int, Floats] | None = None

    def losses(self, rows: GradedRows) -> Floats:
        """Of the labelled place, at the places of all rows; NaN where a row is not among these."""
        found = np.full(len(rows.groups), np.nan)
        for size, (z, label, at) in rows.by_size.items():
            found[at] = -_log_shares(self._at(size, z))[np.arange(len(label)), label]
        return found

    def _at(self, size: int, z: Floats) -> Floats:
        return self.slope * z + (self.biases or {}).get(size, np.zeros(size))


@dataclass(frozen=True, slots=True)
class MadeLevels:
    """`losses` are the mean losses out of fold, by method."""

    calibration: wire.LevelCalibration
    losses: Mapping[Method, float]


def make_levels(labels: Labels, judged: Judged) -> MadeLevels:
    """Raises DataError where there are too few labelled levels with probabilities, or this judge reads none."""
    reading = (judged.judge.readings or {}).get("levels_uncalibrated") or (judged.judge.readings or {}).get("levels")
    if reading is None:
        raise DataError("this judge reads no levels in this mode and layout, so that there is nothing to calibrate")
    rows = _rows(labels, judged)
    count, groups = len(rows.groups), len(np.unique(rows.groups))
    if count < LEAST or groups < LEAST_GROUPS:
        raise DataError(
            f"the judge has levels of {count} labelled criteria of {groups} prompts; a calibration of levels takes "
            f"{LEAST} of {LEAST_GROUPS} prompts, so label more"
        )
    losses = {method: _held_out(rows, method) for method in METHODS}
    method = _chosen(losses, rows.groups)
    scaling = fit(rows, method)
    drawn = figures(
        {
            "loss": lambda weights: mean(losses[method], weights),
            "gain": lambda weights: mean(losses["none"] - losses[method], weights),
        },
        rows.groups,
    )
    calibration = wire.LevelCalibration(
        judge=reading,
        model=judged.judge.model,
        mode="reasoned" if judged.judge.mode == "reasoned" else "verdict",
        method=method,
        temperature=1 / scaling.slope,
        biases=tuple(tuple(map(float, one)) for _, one in sorted((scaling.biases or {}).items())),
        digest=judged.labels_digest,
        criteria=count,
        groups=groups,
        **{name: _interval(drawn[figure]) for name, figure in (("log_loss", "loss"), ("gain", "gain"))},
    )
    return MadeLevels(calibration, {name: float(own.mean()) for name, own in losses.items()})


def _rows(labels: Labels, judged: Judged) -> GradedRows:
    known = [
        (one.p_levels_raw, one.level_label, labels.items[one.item].group)
        for one in judged.criteria
        if one.status == "ok" and one.p_levels_raw is not None and one.level_label is not None
    ]
    found: dict[int, tuple[Floats, Places, Places]] = {}
    for size in sorted({len(p) for p, _, _ in known}):
        own = [(at, p, label) for at, (p, label, _) in enumerate(known) if len(p) == size]
        z = np.log(np.maximum(np.array([p for _, p, _ in own], dtype=np.float64), NEAREST))
        places = (np.array([row[column] for row in own], dtype=np.intp) for column in (2, 0))
        label, at = places
        found[size] = z, label, at
    return GradedRows(found, numbered([group for _, _, group in known]))


def _held_out(rows: GradedRows, method: Method) -> Floats:
    """The loss of each row, by a calibration that was fitted without its prompt."""
    found = np.full(len(rows.groups), np.nan)
    for fitted, left in folds(rows.groups, 0):
        losses = fit(rows.take(fitted), method).losses(rows.take(left))
        found[left] = losses[left]
    return found


def _chosen(losses: Mapping[Method, Floats], groups: NDArray[np.intp]) -> Method:
    best: Method = "none"
    for method in METHODS[1:]:
        better = losses[best] - losses[method]
        if better.mean() > standard_error(better, groups):
            best = method
    return best


def fit(rows: GradedRows, method: Method) -> Scaling:
    """The scaling with the least loss of its kind, biases pulled to 0 by one label."""
    if method == "none":
        return Scaling()
    sizes = list(_biased(rows)) if method == "vector" else []
    starts = dict(zip(sizes, np.cumsum([1, *sizes[:-1]]), strict=True)) if sizes else {}
    weights = np.zeros(1 + sum(sizes))
    weights[0] = 1.0
    ridge = np.full(len(weights), _RIDGE)
    ridge[0] = 1e-9
    loss = _loss(rows, weights, starts, ridge)
    for _ in range(50):
        gradient, curvature = _derivatives(rows, weights, starts, ridge)
        step, share = np.linalg.solve(curvature, gradient), 1.0
        while share > 1e-8:
            tried = weights - share * step
            tried[0] = max(tried[0], _LEAST_SLOPE)
            if (after := _loss(rows, tried, starts, ridge)) <= loss:
                break
            share /= 2
        else:
            break
        done = loss - after < 1e-9 * max(len(rows.groups), 1)
        weights, loss = tried, after
        if done:
            break
    biases = {size: weights[start : start + size] for size, start in starts.items()}
    return Scaling(float(weights[0]), {size: one - one.mean() for size, one in biases.items()})


def _biased(rows: GradedRows) -> Iterator[int]:
    """The numbers of options of which each place was labelled often enough."""
    for size, (_, label, _) in rows.by_size.items():
        if len(label) and np.bincount(label, minlength=size).min() >= LEAST_OF_PLACE:
            yield size


def _loss(rows: GradedRows, weights: Floats, starts: Mapping[int, int], ridge: Floats) -> float:
    biases = {size: weights[start : start + size] for size, start in starts.items()}
    losses = Scaling(float(weights[0]), biases).losses(rows)
    away = weights - np.eye(len(weights))[0]
    return float(np.nansum(losses) + (ridge * away**2).sum() / 2)


def _derivatives(rows: GradedRows, weights: Floats, starts: Mapping[int, int], ridge: Floats) -> tuple[Floats, Floats]:
    gradient, curvature = ridge * (weights - np.eye(len(weights))[0]), np.diag(ridge)
    for size, (z, label, _) in rows.by_size.items():
        # One column for the slope, and one for the bias of each place, of each of its options.
        features = np.zeros((len(label), size, len(weights)))
        features[:, :, 0] = z
        if size in starts:
            features[:, np.arange(size), starts[size] + np.arange(size)] = 1.0
        p = np.exp(_log_shares(features @ weights))
        excess = p - np.eye(size)[label]
        gradient = gradient + np.einsum("nk,nkd->d", excess, features)
        expected = np.einsum("nk,nkd->nd", p, features)
        curvature = curvature + np.einsum("nk,nkd,nke->de", p, features, features) - expected.T @ expected
    return gradient, curvature


def _log_shares(at: Floats) -> Floats:
    highest = at.max(axis=1, keepdims=True)
    return np.asarray(at - highest - np.log(np.exp(at - highest).sum(axis=1, keepdims=True)))


def _interval(figure: Figure) -> wire.Interval:
    value = 0.0 if figure.value is None else figure.value
    low, high = (value if end is None else end for end in (figure.low, figure.high))
    return wire.Interval(value=value, low=min(low, value), high=max(high, value))


def shown(made: MadeLevels) -> Sequence[str]:
    """What was tried and what it gained, for a person."""
    own = made.calibration
    return [
        f"levels: {own.criteria:,} labelled criteria of {own.groups:,} prompts; log loss of the labelled level on rows "
        "that it was not fitted to:",
        *(f" {'*' if name == own.method else ' '} {name:36} {loss:.4f}" for name, loss in made.losses.items()),
        f"gain: {own.gain.value:.3f} [{own.gain.low:.3f}, {own.gain.high:.3f}], temperature {own.temperature:.2f}",
    ]
