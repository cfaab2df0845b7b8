"""Fits curves from P(met) to the share that is met, and applies them to arrays as the service does to one verdict.

Shapes: all arrays have one value for each criterion, (N,).

Guarantees: every curve that is fitted rises or is level, and is the one with the least log loss among its kind (up to
the smoothing of labels, which keeps it finite where P(met) separates them).
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from trainer_client import wire

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
NEAREST = 1e-9
"""P(met) counts as no nearer to 0 and 1 than this. The service has the same bound."""
_ROUNDS = 100
_SMALL = 1e-10
_RIDGE = 1e-9


def log_odds(p: Floats) -> Floats:
    bounded = np.clip(p, NEAREST, 1 - NEAREST)
    return np.log(bounded / (1 - bounded))


def apply(curve: wire.Line | wire.Steps, p: Floats, prior: Floats | None) -> Floats:
    """The calibrated P(met). `prior` is P(met) of the content-free queries, where the curve weighs them."""
    if isinstance(curve, wire.Steps):
        at, found = (np.array(column) for column in zip(*curve.knots, strict=True))
        return np.asarray(np.interp(log_odds(p), at, found))
    if curve == wire.Line():
        return p
    at = curve.slope * log_odds(p) + curve.offset
    if curve.prior_weight:
        if prior is None:
            raise ValueError("this curve weighs a prior, and none was given")
        at = at - curve.prior_weight * log_odds(prior)
    return 1 / (1 + np.exp(np.clip(-at, -700, 700)))


def fit_line(
    p: Floats, met: Bools, prior: Floats | None = None, *, offset: bool = True, prior_weight: bool = False
) -> wire.Line:
    """Temperature scaling without an offset, Platt's with one; with a weight of the prior both together."""
    columns = {"slope": log_odds(p)}
    if offset:
        columns["offset"] = np.ones_like(p)
    if prior_weight:
        if prior is None:
            raise ValueError("there is no prior to weigh")
        columns["prior_weight"] = -log_odds(prior)
    found = _fit(columns, _smoothed(met))
    return wire.Line(slope=found["slope"], offset=found.get("offset", 0.0), prior_weight=found.get("prior_weight", 0.0))


def _smoothed(met: Bools) -> Floats:
    """Platt's targets: a label counts as if one more of each had been seen."""
    some, others = met.sum(), (~met).sum()
    return np.where(met, (some + 1) / (some + 2), 1 / (others + 2))


def _fit(columns: dict[str, Floats], targets: Floats) -> dict[str, float]:
    """The coefficients with the least loss, of which slope and weight are not negative. A coefficient that would be is
    0 in the best solution of this convex problem, so all ways of leaving some out are tried."""
    bounded = [name for name in columns if name != "offset"]
    best: tuple[float, dict[str, float]] | None = None
    for left_out in (set(names) for size in range(len(bounded) + 1) for names in combinations(bounded, size)):
        kept = {name: column for name, column in columns.items() if name not in left_out}
        found = _newton(np.stack(list(kept.values()), axis=1), targets) if kept else np.zeros(0)
        named = dict.fromkeys(columns, 0.0) | dict(zip(kept, map(float, found), strict=True))
        if any(named[name] < 0 for name in bounded):
            continue
        loss = _loss(sum((named[name] * column for name, column in columns.items()), np.zeros_like(targets)), targets)
        if best is None or loss < best[0]:
            best = loss, named
    assert best is not None  # with all of them left out nothing is negative
    return best[1]


def _newton(columns: Floats, targets: Floats) -> Floats:
    """Logistic regression by Newton's method, with steps that are halved until the loss falls."""
    weights = np.zeros(columns.shape[1])
    loss = _loss(columns @ weights, targets)
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(columns @ weights, -700, 700)))
        gradient = columns.T @ (p - targets)
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns + _RIDGE * np.eye(len(weights))
        step, share = np.linalg.solve(curvature, gradient), 1.0
        while (after := _loss(columns @ (weights - share * step), targets)) > loss and share > _SMALL:
            share /= 2
        weights = weights - share * step
        if loss - after < _SMALL * len(targets):
            break
        loss = after
    return weights


def _loss(at: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0, at) - targets * at).sum())


def fit_isotonic(p: Floats, met: Bools) -> wire.Steps:
    """Pool adjacent violators on the log-odds. Where nothing is met in the lowest block its share is that of half a
    label, and so at the other end: a share of 0 would cost without bound where it is wrong once."""
    at, index = np.unique(log_odds(p), return_inverse=True)
    counted = np.bincount(index).astype(np.float64)
    some = np.bincount(index, weights=met)
    blocks: list[list[float]] = []  # of met, counted, first and last log-odds
    for position, count, of_met in zip(at, counted, some, strict=True):
        blocks.append([of_met, count, position, position])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            later = blocks.pop()
            blocks[-1] = [blocks[-1][0] + later[0], blocks[-1][1] + later[1], blocks[-1][2], later[3]]
    lowest, highest = blocks[0], blocks[-1]
    least = 0.5 / (lowest[1] + 1) if lowest[0] == 0 else 0.0
    most = 1 - 0.5 / (highest[1] + 1) if highest[0] == highest[1] else 1.0
    knots: list[tuple[float, float]] = []
    for of_met, count, first, last in blocks:
        share = float(min(max(of_met / count, least), most))
        knots += [(float(first), share)] if first == last else [(float(first), share), (float(last), share)]
    return wire.Steps(knots=tuple(knots))
