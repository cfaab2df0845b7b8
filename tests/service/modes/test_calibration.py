"""The curves of a calibration: probabilities that keep the order of verdicts, and nothing without a prior."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.modes.calibration import NEAREST, Calibration, Line, SelectedCurve, Steps, log_odds, sign_of
from service.rubrics.rubric import Criterion

P = st.floats(0.0, 1.0)
LINES = st.builds(Line, st.floats(0, 50), st.floats(-50, 50), st.just(0.0))


@st.composite
def steps(draw: st.DrawFn) -> Steps:
    at = sorted(draw(st.sets(st.floats(-20, 20), min_size=1, max_size=6)))
    return Steps(tuple(at), tuple(sorted(draw(st.lists(P, min_size=len(at), max_size=len(at))))))


@given(st.one_of(LINES, steps()), st.lists(P, min_size=2, max_size=8))
def test_a_curve_gives_probabilities_and_keeps_the_order(curve: Line | Steps, given_p: list[float]) -> None:
    found = [curve(p, None) for p in sorted(given_p)]
    assert all(0.0 <= p <= 1.0 for p in found)
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(found))


@given(P)
def test_a_line_without_effect_gives_back_what_it_was_given(p: float) -> None:
    assert Line()(p, None) == p


@given(steps(), P)
def test_steps_are_linear_between_their_knots(curve: Steps, p: float) -> None:
    assert curve(p, None) == pytest.approx(float(np.interp(log_odds(p), curve.at, curve.p)), abs=1e-9)


def test_figures_that_are_known() -> None:
    assert Line(slope=0.5)(0.9, None) == pytest.approx(0.75)  # odds of 9 become 3
    assert Line(offset=-log_odds(0.8))(0.8, None) == pytest.approx(0.5)
    assert Line(prior_weight=1.0)(0.8, 0.8) == pytest.approx(0.5)
    assert Line(prior_weight=1.0)(0.9, 0.75) == pytest.approx(0.75)  # odds of 9 by odds of 3
    assert Line(slope=1.0, offset=1.0)(1.0, None) < 1.0  # as near to 1 as the fit's own log-odds came
    assert log_odds(0.0) == pytest.approx(-log_odds(1.0)) == pytest.approx(np.log(NEAREST))


def test_a_curve_that_weighs_a_prior_gives_nothing_without_it() -> None:
    with pytest.raises(ValueError, match="weighs a prior"):
        Line(prior_weight=0.5)(0.7, None)


def test_a_criterion_has_the_first_curve_that_is_for_it() -> None:
    faults, facts, others = Line(2.0), Line(3.0), Line(4.0)
    curves = (SelectedCurve(facts, tag=("theme", "facts")), SelectedCurve(faults, "negative"), SelectedCurve(others))
    calibration = Calibration("x", "judge", "verdict", "rubricd", curves)
    assert calibration.curve_of(Criterion("0", "Says so.", -1.0)) is faults
    assert calibration.curve_of(Criterion("0", "Says so.", 0.0)) is others
    assert calibration.curve_of(Criterion("0", "Says so.", -1.0, tags={"theme": "facts"})) is facts
    assert calibration.curve_of(Criterion("0", "Says so.", 1.0, tags={"theme": "style"})) is others
    assert [sign_of(Criterion("0", "Says so.", points)) for points in (-1.0, 0.0, 2.0)] == [
        "negative",
        "positive",
        "positive",
    ]
