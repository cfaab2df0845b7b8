"""The figures against numbers worked out by hand."""

import pytest

from miniature.judge.evaluation import Verdict, accuracy, auroc, calibration_error, figures, verdicts
from miniature.world.cases import evaluation


def test_accuracy_counts_one_half_as_met() -> None:
    assert accuracy([Verdict(0.5, True), Verdict(0.5, False), Verdict(0.1, False), Verdict(0.9, False)]) == 0.5


def test_calibration_error_weighs_the_bins() -> None:
    judged = [Verdict(0.9, True), Verdict(0.9, False), Verdict(0.2, False), Verdict(1.0, True)]
    # The bin from 0.8 holds 0.9, 0.9 and 1.0 with two met; the bin of 0.2 holds one, unmet.
    assert calibration_error(judged, bins=5) == pytest.approx((abs(2.8 - 2) + 0.2) / 4)


def test_a_right_and_sure_judge_is_perfect() -> None:
    judged = [Verdict(1.0, True), Verdict(0.0, False)]
    measured = figures(judged)
    assert (measured.accuracy, measured.calibration_error, measured.auroc, measured.brier) == (1, 0, 1, 0)


def test_auroc_counts_ties_half_and_needs_both_classes() -> None:
    assert auroc([Verdict(0.3, False), Verdict(0.3, True)]) == 0.5
    assert auroc([Verdict(0.1, False), Verdict(0.8, False), Verdict(0.7, True), Verdict(0.9, True)]) == 0.75
    assert auroc([Verdict(0.3, True)]) is None


def test_a_missing_verdict_is_an_error() -> None:
    case = evaluation(3, 0)
    with pytest.raises(ValueError):
        verdicts(case, [0.5] * (len(case.criteria) - 1))
    assert len(verdicts(case, [0.5] * len(case.criteria))) == len(case.criteria)
