"""Curves against scikit-learn's fits, and as the service applies them."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from service.modes import calibration as served
from trainer_client import wire
from trainer_client.calibration.curves import NEAREST, Bools, Floats, apply, fit_isotonic, fit_line, log_odds

SEEDS = range(20)


def sample(seed: int, rows: int = 400) -> tuple[Floats, Bools, Floats]:
    """P(met) of a judge that is too sure and leans to met, the labels, and a prior that tells of its leaning."""
    draw = np.random.default_rng(seed)
    truth, bias = draw.normal(0, 1.5, rows), draw.normal(1, 0.7, rows)
    p = 1 / (1 + np.exp(-(2 * truth + bias)))
    return p, draw.random(rows) < 1 / (1 + np.exp(-truth)), 1 / (1 + np.exp(-bias))


def logistic(columns: Sequence[Floats], met: Bools, *, offset: bool) -> list[float]:
    """scikit-learn's coefficients for Platt's smoothed labels: each row as met and as not met, by weight."""
    some, others = met.sum(), (~met).sum()
    target = np.where(met, (some + 1) / (some + 2), 1 / (others + 2))
    model = LogisticRegression(C=np.inf, fit_intercept=offset, tol=1e-10, max_iter=1000)
    stacked = np.stack(columns, axis=1)
    labels = np.repeat([1, 0], len(met))
    model.fit(np.concatenate([stacked, stacked]), labels, np.concatenate([target, 1 - target]))
    return [*map(float, model.coef_[0]), float(model.intercept_[0]) if offset else 0.0]


@pytest.mark.parametrize("seed", SEEDS)
def test_lines_are_those_of_scikit_learn(seed: int) -> None:
    p, met, prior = sample(seed)
    at, against = log_odds(p), -log_odds(prior)
    temperature, platt = fit_line(p, met, offset=False), fit_line(p, met)
    both = fit_line(p, met, prior, prior_weight=True)
    assert [temperature.slope, temperature.offset] == pytest.approx(logistic([at], met, offset=False), abs=1e-4)
    assert [platt.slope, platt.offset] == pytest.approx(logistic([at], met, offset=True), abs=1e-4)
    expected = logistic([at, against], met, offset=True)
    assert [both.slope, both.prior_weight, both.offset] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_isotonic_is_that_of_scikit_learn(seed: int) -> None:
    p, met, _ = sample(seed)
    p = np.round(p, 2) if seed % 2 else p  # with ties, too
    asked = np.random.default_rng(seed + 100).random(500)
    curve = fit_isotonic(p, met)
    found = apply(curve, asked, None)
    bounds = {"y_min": curve.knots[0][1], "y_max": curve.knots[-1][1]}  # half a label of the blocks at the ends
    reference = IsotonicRegression(**bounds, out_of_bounds="clip").fit(log_odds(p), met)
    assert 0 < bounds["y_min"] < bounds["y_max"] < 1
    assert found == pytest.approx(reference.predict(log_odds(asked)), abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_service_applies_a_curve_to_the_same_effect(seed: int) -> None:
    p, met, prior = sample(seed, 60)
    p[:3] = [0.0, 1.0, 0.5]
    assert served.NEAREST == NEAREST
    line, steps = fit_line(p, met, prior, prior_weight=True), fit_isotonic(p, met)
    own = served.Line(line.slope, line.offset, line.prior_weight)
    expected = [own(float(one), float(bias)) for one, bias in zip(p, prior, strict=True)]
    assert apply(line, p, prior) == pytest.approx(expected, abs=1e-12)
    at, shares = zip(*steps.knots, strict=True)
    assert apply(steps, p, None) == pytest.approx([served.Steps(at, shares)(float(one), None) for one in p], abs=1e-12)


def test_a_curve_never_turns_the_order_round() -> None:
    """A judge that is wrong more often than right is worth nothing, and not its opposite."""
    p, met, prior = sample(1)
    assert fit_line(p, ~met).slope == 0.0
    assert fit_line(p, ~met, offset=False) == wire.Line(slope=0.0)
    assert fit_line(p, met, 1 - prior, prior_weight=True).prior_weight == 0.0
    level = apply(fit_isotonic(p, ~met), p, None)
    assert (np.diff(level[np.argsort(p)]) >= -1e-12).all()


def test_labels_that_p_separates_give_a_finite_line() -> None:
    p = np.linspace(0.01, 0.99, 50)
    for line in (fit_line(p, p > 0.5), fit_line(p, np.ones(50, dtype=np.bool_))):
        assert np.isfinite([line.slope, line.offset]).all()
    ends = apply(fit_isotonic(p, p > 0.5), p, None)
    assert (ends.min(), ends.max()) == pytest.approx((0.5 / 26, 1 - 0.5 / 26))


def test_a_line_without_its_prior_is_refused() -> None:
    p, met, _ = sample(0)
    with pytest.raises(ValueError, match="prior"):
        apply(wire.Line(prior_weight=1.0), p, None)
    with pytest.raises(ValueError, match="prior"):
        fit_line(p, met, prior_weight=True)
