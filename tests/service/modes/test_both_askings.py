"""Two askings of one criterion, whether it is true and whether it is false, make one verdict and a disagreement."""

import math
from random import Random

import pytest

from service.modes.label_verdict import read_both
from service.rubrics.judgement import Verdict


def _p(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def test_a_bias_to_one_label_is_gone_from_both_askings() -> None:
    """Of 1,000 beliefs and biases, each verdict is the belief, whatever the judge adds to its first label."""
    random = Random(5)
    for _ in range(1000):
        belief, bias = random.uniform(-6, 6), random.uniform(-6, 6)
        both = read_both(Verdict(_p(belief + bias), 0.9), Verdict(_p(-belief + bias), 0.8))
        assert both.p_met == pytest.approx(_p(belief), abs=1e-6)
        assert both.label_mass == 0.8
        assert both.disagreement == pytest.approx(abs(_p(belief + bias) - 1 + _p(-belief + bias)))


@pytest.mark.parametrize(
    ("plain", "opposite", "p", "apart"), [(1.0, 1.0, 0.5, 1.0), (1.0, 0.0, 1.0, 0.0), (0, 1, 0, 0)]
)
def test_a_judge_that_says_yes_to_everything_says_nothing(
    plain: float, opposite: float, p: float, apart: float
) -> None:
    both = read_both(Verdict(plain, None), Verdict(opposite, None))
    assert both.p_met == pytest.approx(p, abs=1e-8)
    assert (both.disagreement, both.label_mass) == (apart, None)
