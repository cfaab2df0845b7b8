"""Which calibration is chosen, and that its figures come from rows that it has not seen."""

import numpy as np
import pytest

from tests.trainer_client.calibration.shared import made
from trainer_client import wire
from trainer_client.calibration.candidates import Candidate, candidates
from trainer_client.calibration.choice import choose, compare, folds, losses_of, simplest
from trainer_client.calibration.rows import Rows


@pytest.mark.parametrize("groups", [5, 23, 200])
def test_folds_hold_out_each_row_once_with_its_whole_prompt(groups: int) -> None:
    rows = made(0, groups)
    held_out = []
    for fitted, left in folds(rows.groups, seed=1):
        assert not set(rows.groups[fitted]) & set(rows.groups[left])
        assert len(fitted) + len(left) == len(rows)
        held_out += left.tolist()
    assert sorted(held_out) == list(range(len(rows)))


def test_a_judge_that_is_too_sure_and_leans_is_set_right() -> None:
    rows = made(1, 600, sharpness=3.0, leaning=1.5)
    chosen = choose(rows)
    assert chosen.candidate == Candidate("platt")
    [curve] = chosen.curves
    assert isinstance(curve.curve, wire.Line)
    assert curve.curve.slope == pytest.approx(1 / 3, abs=0.05)
    assert curve.curve.offset == pytest.approx(-0.5, abs=0.15)
    assert losses_of(rows, chosen.cross_fitted).mean() < losses_of(rows, rows.p).mean() - 0.1


def test_too_sure_alone_is_a_temperature() -> None:
    assert choose(made(2, 600, sharpness=3.0)).candidate == Candidate("temperature")


def test_signs_and_tags_have_curves_of_their_own_where_they_need_them() -> None:
    by_sign = choose(made(3, 600, leaning={True: -2.0, False: 2.0}))
    assert by_sign.candidate == Candidate("platt", by="sign")
    assert [one.sign for one in by_sign.curves] == ["negative", "positive", None]
    by_tag = choose(made(4, 600, tags={"facts": 2.0, "style": -2.0}))
    assert by_tag.candidate == Candidate("platt", by="theme")
    assert [one.tag for one in by_tag.curves] == [("theme", "facts"), ("theme", "style"), None]


def test_a_bias_that_the_prior_shows_is_subtracted() -> None:
    chosen = choose(made(5, 600, bias=2.0))
    assert chosen.candidate == Candidate("contextual", "criterion")
    assert chosen.curves == (wire.CalibrationCurve(curve=wire.Line(prior_weight=1.0)),)


def test_none_wins_ties() -> None:
    """Over 30 judges that are calibrated already."""
    found = []
    for seed in range(30):
        rows = made(seed, 100)
        found.append(simplest(compare(rows, candidates(rows), 0)).method)
    assert found.count("none") >= 22, found


def test_what_was_chosen_among_many_on_few_rows_is_worth_no_more_than_it_is() -> None:
    """The gain is measured where nothing was fitted or chosen: over 20 calibrated judges it is no gain."""
    gains = []
    for seed in range(20):
        rows = made(seed, 40)
        gains.append(float((losses_of(rows, rows.p) - losses_of(rows, choose(rows).cross_fitted)).mean()))
    assert np.mean(gains) < 2 * np.std(gains) / 20**0.5
    assert max(gains) < 0.05


def test_a_small_tag_has_no_curve_of_its_own() -> None:
    rows = made(6, 200, tags={"facts": 0.0, "style": 0.0})
    few = [tags if index < 900 else {"theme": "rare"} for index, tags in enumerate(rows.tags)]
    rare = Rows(rows.p, rows.met, rows.negative, few, rows.groups)
    values = {one.tag for one in Candidate("platt", by="theme").fit(rare)}
    assert ("theme", "rare") in values
    fewer = [tags if index < 980 else {"theme": "rare"} for index, tags in enumerate(rows.tags)]
    rarer = Rows(rows.p, rows.met, rows.negative, fewer, rows.groups)
    assert {one.tag for one in Candidate("platt", by="theme").fit(rarer)} == {
        ("theme", "facts"),
        ("theme", "style"),
        None,
    }
    assert not np.isnan(Candidate("platt", by="theme").predict(Candidate("platt", by="theme").fit(rarer), rarer)).any()
