"""Figures of groups and criteria, against calculations by hand."""

from collections.abc import Mapping
from dataclasses import replace
from math import isnan, sqrt

import numpy as np
import pytest

from tests.trainer_client.watch import made
from trainer_client.rollouts import Rollout
from trainer_client.watch import criteria, groups
from trainer_client.watch.alarms import Declared, alarms
from trainer_client.watch.observed import Observed, Table

A, B = {"kind": True, "long": True, "rude": False}, {"kind": False, "long": True, "rude": True}


def _table() -> Table:
    """Group x: four answers of two kinds. Group y: two equal ones. Group z: one alone, which was not judged."""
    points = {"kind": 2.0, "long": 1.0, "rude": -1.0}
    observed = Observed()
    observed.add(
        made.group(
            0, "x", [("aaaa", A, 1.5), ("bb", B, 0.0), ("aaaa", A, 1.5), ("ccc", {**A, "long": None}, 1.0)], **points
        )
    )
    observed.add(made.group(0, "y", [("dd", A, 1.0), ("dd", A, 1.0)], **points))
    observed.add(made.group(1, "z", [("e", dict.fromkeys(A), None)], **points))
    return observed.table()


def without_points(one: Rollout, id: str) -> Rollout:
    """As a log has it that holds neither the rubric nor this criterion's points."""
    said = tuple(replace(each, points=None) if each.id == id else each for each in one.criteria)
    return replace(one, criteria=said, rubric=None)


def test_groups() -> None:
    table = _table()
    assert list(groups.first_of_groups(table)) == [0, 0, 1]
    assert list(groups.without_spread(table)[:2]) == [0, 1] and isnan(groups.without_spread(table)[2])
    assert list(groups.identical(table)[:2]) == [0.5, 1] and isnan(groups.identical(table)[2])
    # Lengths 4, 2, 4, 3 and rewards 1.5, 0, 1.5, 1: five pairs differ in both, in all of them the longer one wins.
    assert groups.longer_wins(table)[0] == 1 and isnan(groups.longer_wins(table)[1])


def test_concordance_by_hand() -> None:
    one, other = np.array([1.0, 2.0, 3.0, 3.0]), np.array([2.0, 1.0, 5.0, np.nan])
    assert groups.concordance(one, other) == pytest.approx(2 / 3)
    assert isnan(groups.concordance(one, np.ones(4)))


def test_criteria() -> None:
    table = _table()
    assert [one.id for one in table.criteria] == ["kind", "long", "rude"]
    found = criteria.figures(table)
    assert list(found.verdicts) == [6, 5, 6]
    assert found.missing == pytest.approx([1 / 7, 2 / 7, 1 / 7])
    assert found.pass_rate == pytest.approx([5 / 6, 1, 1 / 6])
    assert list(found.groups) == [2, 2, 2] and found.informative == pytest.approx([0.5, 0, 0.5])
    assert isnan(found.discrimination[1]), "all meet it"


def test_discrimination_by_hand() -> None:
    """Within group x, of `kind`: values 1, 0, 1, 1 and what is left of the rubric, points 1 and 1 for good conduct:
    (long, not rude) = (1, 1), (1, 0), (1, 1) and, where long is unknown, (-, 1): shares 1, 1/2, 1, 1."""
    table = _table()
    rest = criteria.rest_of(table)
    assert rest[table.criterion == 0][:4] == pytest.approx([1, 0.5, 1, 1])
    value, share = np.array([1.0, 0, 1, 1]), np.array([1, 0.5, 1, 1])
    value, share = value - value.mean(), share - share.mean()
    by_hand = (value @ share) / sqrt((value @ value) * (share @ share))
    assert criteria.figures(table).discrimination[0] == pytest.approx(by_hand) == pytest.approx(1.0)
    length = np.array([4.0, 2, 4, 3])
    length -= length.mean()
    by_hand = (value @ length) / sqrt((value @ value) * (length @ length))
    assert criteria.figures(table).length[0] == pytest.approx(by_hand)


def test_a_criterion_without_points_has_no_sign_and_weighs_nothing() -> None:
    """The log says of `rude` nothing but whether it is met: that it is wanted would be a guess."""
    signed, unsigned = Observed(), Observed()
    rows: list[tuple[str, Mapping[str, made.Met], float | None]] = [("aaaa", A, 1.5), ("bb", B, 0.0), ("aaaa", A, 1.5)]
    rows.append(("ccc", {**A, "long": None}, 1.0))
    for step in range(60):
        logged = made.group(step, "x", rows, kind=2.0, long=1.0, rude=-1.0)
        signed.add(logged)
        unsigned.add(without_points(one, "rude") for one in logged)
    known, unknown = signed.table(), unsigned.table()
    assert [one.points for one in unknown.criteria] == [2.0, 1.0, None] and unknown.without_sign == 1
    rude = unknown.criterion == 2
    assert np.isnan(unknown.value[rude]).all() and not np.isnan(unknown.value[~rude & np.isfinite(unknown.met)]).any()
    # What is known without a sign stays as it was; the rest of the rubric is of the others alone.
    had, found = criteria.figures(known), criteria.figures(unknown)
    assert found.pass_rate == pytest.approx(had.pass_rate) and found.informative == pytest.approx(had.informative)
    assert isnan(found.discrimination[2]) and not isnan(had.discrimination[2])
    assert criteria.rest_of(unknown)[unknown.criterion == 0][:4] == pytest.approx([1, 1, 1, np.nan], nan_ok=True)


def test_a_criterion_without_points_raises_no_alarm_of_its_own() -> None:
    """Met by nobody: of something wanted that is an alarm, of a fault it is what is asked for."""
    never = {"kind": False, "good": True}
    rows: list[tuple[str, Mapping[str, made.Met], float | None]] = [
        ("a", never, 0.0),
        ("b", {**never, "good": False}, 1.0),
    ]
    logged = [one for step in range(200) for one in made.group(step, "x", rows, kind=1.0, good=1.0)]
    for points, kinds in ((True, {"never_met"}), (False, set())):
        observed = Observed()
        observed.add(one if points else without_points(one, "kind") for one in logged)
        found = alarms(observed.table(), None, Declared())
        assert {one.kind for one in found if one.criterion is not None and one.criterion.id == "kind"} == kinds


def test_a_criterion_against_the_rest_disagrees_with_it() -> None:
    observed = Observed()
    rows = [
        ("a", {"odd": True, "kind": False, "long": False}, 0.0),
        ("b", {"odd": False, "kind": True, "long": True}, 1.0),
    ]
    observed.add(made.group(3, "x", rows, odd=1.0, kind=1.0, long=1.0))
    table = observed.table()
    own, group = table.criterion == 0, table.group[table.rollout]
    values, names = criteria.disagreement_with_rest(table.value[own], criteria.rest_of(table)[own], group[own])
    assert (list(values), list(names)) == ([1.0], [0])
    assert criteria.figures(table).discrimination[0] == pytest.approx(-1)


def test_figures_are_the_same_whatever_the_order_and_number_of_parts() -> None:
    """50 random logs, 0 differences between added at once and step by step."""
    random = np.random.default_rng(0)
    for _ in range(50):
        points = {"a": 3.0, "b": -2.0, "c": 1.0}
        rows = [
            made.group(
                step,
                f"g{number}",
                [
                    (str(random.integers(4)), {id: bool(random.random() < 0.5) for id in points}, random.random())
                    for _ in "1234"
                ],
                **points,
            )
            for step in range(3)
            for number in range(2)
        ]
        once, parts = Observed(), Observed()
        once.add([one for part in rows for one in part])
        for part in rows:
            parts.add(part)
        one, other = criteria.figures(once.table()), criteria.figures(parts.table())
        for name in ("pass_rate", "informative", "discrimination", "length", "missing"):
            assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
            assert np.all(np.abs(getattr(one, name)[np.isfinite(getattr(one, name))]) <= 1 + 1e-12)


def test_an_empty_log_has_empty_figures() -> None:
    table = Observed().table()
    assert table.step.shape == table.met.shape == (0,) and groups.without_spread(table).shape == (0,)
