"""The certificate's figures, and intervals that are honest where nothing went wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss

from tests.trainer_client.calibration.shared import made
from trainer_client.calibration.certificate import certify, gain
from trainer_client.calibration.choice import choose


def test_figures_are_those_of_scikit_learn() -> None:
    rows = made(0)
    found = certify(rows, rows.p)
    assert found.log_loss.value == pytest.approx(log_loss(rows.met, rows.p), abs=1e-9)
    assert found.brier.value == pytest.approx(brier_score_loss(rows.met, rows.p), abs=1e-9)
    for rates, chosen in ((found.positive, ~rows.negative), (found.negative, rows.negative)):
        (tn, fp), (fn, tp) = confusion_matrix(rows.met[chosen], rows.p[chosen] >= 0.5)
        assert rates.false_positive is not None and rates.false_negative is not None and rates.informedness is not None
        assert (rates.met, rates.unmet) == (tp + fn, tn + fp)
        assert rates.false_positive.value == pytest.approx(fp / (tn + fp))
        assert rates.false_negative.value == pytest.approx(fn / (tp + fn))
        assert rates.informedness.value == pytest.approx(1 - fp / (tn + fp) - fn / (tp + fn))
        assert rates.informedness.low < rates.informedness.value < rates.informedness.high
    assert (found.criteria, found.groups, found.threshold) == (1000, 200, 0.5)


def test_a_judge_that_never_erred_is_not_certain() -> None:
    """Near the rule of three: of n prompts without an error a share of 3.84 / (n + 3.84) may have one."""
    rows = made(0, 40)
    exact = np.where(rows.met, 0.99, 0.01)
    for rates, own in (
        (certify(rows, exact).positive, ~rows.negative),
        (certify(rows, exact).negative, rows.negative),
    ):
        assert rates.false_positive is not None and rates.informedness is not None
        assert rates.false_positive.value == 0.0
        prompts = len(np.unique(rows.groups[own & ~rows.met]))
        assert rates.false_positive.high == pytest.approx(3.84 / (prompts + 3.84), rel=0.01)
        assert rates.informedness.low < 1.0


def test_the_rates_are_those_of_the_judge_that_is_served() -> None:
    """On 20,000 fresh criteria, for 24 judges whose method of calibration is hard to choose: 4 rates each."""
    held = 0
    for seed in range(24):
        kind: dict[str, Any] = {"sharpness": 2.0, "leaning": {True: -1.0, False: 1.0}, "bias": 0.5}
        rows, fresh = made(seed, 120, **kind), made(1000 + seed, 4000, **kind)
        chosen = choose(rows)
        certificate = certify(rows, chosen.held_out)
        met = chosen.candidate.predict(chosen.curves, fresh) >= 0.5
        for rates, of_sign in ((certificate.positive, ~fresh.negative), (certificate.negative, fresh.negative)):
            labels, said = fresh.met[of_sign], met[of_sign]
            for interval, rate in (
                (rates.false_positive, said[~labels].mean()),
                (rates.false_negative, 1 - said[labels].mean()),
            ):
                assert interval is not None
                held += interval.low <= rate <= interval.high
    assert held >= 88, held  # of 96; where each fold chooses its own method 85


def test_a_rate_that_no_label_can_show_is_none() -> None:
    rows = replace(made(0, 40), negative=np.zeros(200, dtype=np.bool_))
    found = certify(rows, rows.p)
    assert (found.negative.false_positive, found.negative.informedness, found.negative.met) == (None, None, 0)


def test_a_gain_is_that_over_p_as_the_judge_gave_it() -> None:
    rows = made(1, sharpness=3.0, leaning=1.0)
    better = made(1).p
    found = gain(rows, better)
    assert found.log_loss.low > 0 and found.ece.low > 0
    assert found.log_loss.value == pytest.approx(log_loss(rows.met, rows.p) - log_loss(rows.met, better), abs=1e-9)
    none = gain(rows, rows.p)
    assert (none.log_loss.value, none.log_loss.low, none.log_loss.high) == (0.0, 0.0, 0.0)
