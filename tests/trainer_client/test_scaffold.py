"""The papers' tables and the scaffold's laws. The tables' numbers were worked out by hand from the formulas."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer_client.scaffolds import FULL, criteria
from trainer_client import wire
from trainer_client.scaffold import Over, Scaffold, Schedule, progress

TOTAL, GROUP = 350, 8
PAPER = {
    50: (0.999, 0.857, 0.714, 0.571, 0.428, 0.286, 0.143, 0.0),
    65: (0.889, 0.762, 0.635, 0.508, 0.381, 0.254, 0.127, 0.0),
    70: (0.571, 0.490, 0.408, 0.326, 0.245, 0.163, 0.082, 0.0),
    75: (0.182, 0.156, 0.130, 0.104, 0.078, 0.052, 0.026, 0.0),
    80: (0.036, 0.031, 0.026, 0.020, 0.015, 0.010, 0.005, 0.0),
}
schedules = st.builds(
    Schedule,
    within=st.sampled_from(["linear", "binary"]),
    over=st.sampled_from(["sigmoid", "linear", "power", "constant", "none"]),
    full=st.integers(0, 20),
    start=st.floats(0, 1),
    steepness=st.floats(0, 1e6),
    exponent=st.floats(0, 10),
)
groups = st.integers(1, 16).flatmap(lambda group: st.tuples(st.integers(0, group - 1), st.just(group)))


@pytest.mark.parametrize("step", PAPER)
def test_the_papers_schedule(step: int) -> None:
    shares = [Schedule().share(member, GROUP, step, TOTAL) for member in range(GROUP)]
    assert shares == pytest.approx(PAPER[step], abs=6e-4)


def test_the_papers_schedule_is_over_after_a_quarter() -> None:
    assert max(Schedule().share(0, GROUP, step, TOTAL) for step in range(91, TOTAL + 1)) < 0.001
    assert Schedule().share(0, GROUP, 60, TOTAL) == pytest.approx(0.98, abs=0.005)
    assert Schedule().share(0, GROUP, 71, TOTAL) == pytest.approx(0.48, abs=0.005)


@pytest.mark.parametrize(
    ("count", "counts"),
    [
        (7, [7, 6, 5, 4, 3, 2, 1, 0]),
        (12, [12, 10, 9, 7, 5, 3, 2, 0]),
        (20, [20, 17, 14, 11, 9, 6, 3, 0]),
    ],
)
def test_how_many_are_shown(count: int, counts: list[int]) -> None:
    rubric = criteria(*[1.0] * count)
    revealed = [FULL.reveal(rubric, row="r", member=member, group=8, step=1, total=9) for member in range(8)]
    assert [len(one) for one in revealed] == counts
    assert all(len(set(one)) == len(one) and set(one) <= set(range(count)) for one in revealed)


def test_halves_go_to_even() -> None:
    """Member 1 of 3 is shown half: of 1, 3 and 5 criteria 0, 2 and 2."""
    counts = [len(FULL.reveal(criteria(*[1.0] * n), row="r", member=1, group=3, step=1, total=1)) for n in (1, 3, 5)]
    assert counts == [0, 2, 2]


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        (Schedule(over="constant"), [1, 1, 1, 1, 1]),
        (Schedule(over="none"), [0, 0, 0, 0, 0]),
        (Schedule(over="linear"), [1, 0.75, 0.5, 0.25, 0]),
        (Schedule(over="power"), [1, 0.5625, 0.25, 0.0625, 0]),
        (Schedule(over="power", exponent=3), [1, 0.421875, 0.125, 0.015625, 0]),
        (Schedule(start=0.5, steepness=4), [1 / (1 + math.exp(4 * (t - 0.5))) for t in (0, 0.25, 0.5, 0.75, 1)]),
    ],
)
def test_over_training(schedule: Schedule, shares: list[float]) -> None:
    assert [schedule.share(0, 4, step, 5) for step in range(1, 6)] == pytest.approx(shares)


def test_within_a_group() -> None:
    linear, binary = Schedule(over="constant"), Schedule(within="binary", full=2, over="constant")
    assert [linear.share(member, 5, 1, 9) for member in range(5)] == [1, 0.75, 0.5, 0.25, 0]
    assert [binary.share(member, 5, 1, 9) for member in range(5)] == [1, 1, 0, 0, 0]
    assert linear.share(0, 1, 1, 9) == 1
    assert Schedule(within="binary", over="constant").share(0, 1, 1, 9) == 0
    assert Schedule(within="binary", full=9, over="constant").share(4, 5, 1, 9) == 1


def test_progress_runs_from_the_first_step_to_the_last() -> None:
    assert [progress(step, 5) for step in (1, 3, 5)] == [0, 0.5, 1]
    assert [progress(step, 5) for step in (0, -3, 6, 99)] == [0, 0, 1, 1]
    assert [progress(1, total) for total in (1, 0)] == [0, 0]


@pytest.mark.parametrize("member", [-1, 4])
def test_who_is_in_no_group_is_refused(member: int) -> None:
    with pytest.raises(ValueError, match=f"member {member} of a group of 4"):
        Schedule().share(member, 4, 1, 9)


def test_a_steep_schedule_is_a_switch() -> None:
    steep = Schedule(steepness=1e300)
    assert [steep.share(0, 2, step, 11) for step in (1, 2, 4, 11)] == pytest.approx([1, 1, 0, 0])


@given(schedules, groups, st.integers(-5, 400), st.integers(0, 350))
def test_a_share_is_a_share(schedule: Schedule, place: tuple[int, int], step: int, total: int) -> None:
    assert 0 <= schedule.share(*place, step, total) <= 1


@given(schedules, st.integers(2, 16), st.integers(1, 50), st.integers(1, 50))
def test_shares_fall_within_a_group_and_over_training(schedule: Schedule, group: int, step: int, total: int) -> None:
    shares = [schedule.share(member, group, step, total) for member in range(group)]
    assert all(before >= after for before, after in pairwise(shares))
    first = [schedule.share(0, group, step, total) for step in range(1, total + 1)]
    assert all(before >= after for before, after in pairwise(first))
    if schedule.within == "linear":
        assert shares[-1] == 0


@given(st.integers(1, 20), st.integers(2, 9), st.integers(1, 9), st.sampled_from(["constant", "linear", "sigmoid"]))
def test_nested_is_nested(count: int, group: int, step: int, over: Over) -> None:
    scaffold = Scaffold(Schedule(over=over, start=0.5, steepness=5), nested=True, seed=3)
    rubric = criteria(*[1.0] * count)
    revealed = [scaffold.reveal(rubric, row="r", member=m, group=group, step=step, total=9) for m in range(group)]
    assert all(more[: len(less)] == less for more, less in pairwise(revealed))


def _draws(scaffold: Scaffold, members: Sequence[int] = range(4)) -> set[tuple[int, ...]]:
    half = Schedule(within="binary", full=8, over="linear")
    drawn = Scaffold(half, nested=scaffold.nested, seed=scaffold.seed)
    return {drawn.reveal(criteria(*[1.0] * 12), row="r", member=m, group=8, step=5, total=9) for m in members}


def test_the_same_place_is_shown_the_same_and_others_are_drawn_afresh() -> None:
    assert _draws(Scaffold()) == _draws(Scaffold())
    assert len(_draws(Scaffold())) == 4  # as many choices as members
    assert len(_draws(Scaffold(nested=True))) == 1
    assert not _draws(Scaffold(seed=1)) & _draws(Scaffold(seed=2))
    half = Scaffold(Schedule(over="constant"))
    rubric = criteria(*[1.0] * 12)
    places = [("r", 5), ("r", 6), ("s", 5)]
    assert len({half.reveal(rubric, row=row, member=3, group=8, step=step, total=9) for row, step in places}) == 3


@given(st.lists(st.sampled_from([0.0, 2.0, -3.0]), max_size=12), st.integers(0, 5))
def test_what_counts_nothing_is_never_shown(points: list[float], member: int) -> None:
    rubric = criteria(*points)
    revealed = FULL.reveal(rubric, row="r", member=member, group=6, step=1, total=1)
    assert all(rubric[place].points != 0 for place in revealed)
    if member == 0:
        assert len(revealed) == sum(one != 0 for one in points)


def test_weights_decide_who_is_drawn_first() -> None:
    """Of 2,000 draws the one of weight 3 beside two of weight 1 is first in 3 of 5, give or take four errors."""
    rubric, scaffold = criteria(1, 1, 1), Scaffold(Schedule(over="constant"))
    firsts = [
        scaffold.reveal_by_weight(rubric, [1, 3, 1], row="r", member=0, group=2, step=step, total=9)[0]
        for step in range(2000)
    ]
    assert abs(firsts.count(1) / 2000 - 0.6) < 0.044 and abs(firsts.count(0) / 2000 - 0.2) < 0.036


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=9), st.integers(0, 3), st.booleans())
def test_weights_change_which_are_shown_and_not_how_many(weights: list[float], member: int, nested: bool) -> None:
    rubric, scaffold = criteria(*[1, -2, 0, 3] * 3)[: len(weights)], Scaffold(Schedule(over="constant"), nested=nested)
    place: dict[str, Any] = {"row": "r", "group": 4, "step": 3, "total": 9}
    shown = scaffold.reveal_by_weight(rubric, weights, member=member, **place)
    assert shown == scaffold.reveal_by_weight(rubric, weights, member=member, **place)
    evenly = scaffold.reveal(rubric, member=member, **place)
    assert len(shown) == len(evenly) == len(set(shown)) and all(rubric[one].points for one in shown)
    if nested:
        assert shown == scaffold.reveal_by_weight(rubric, weights, member=0, **place)[: len(shown)]


STEM = [
    wire.Criterion(id="draw", text="Draws the forces.", points=2),
    wire.Criterion(id="sum", text="Adds them up.", points=3),
    wire.Criterion(id="seen", text="Is monitored.", points=0),
    wire.Criterion(id="unit", text="Names the unit.", points=1),
    wire.Criterion(id="final", text="Says 42 N.", points=5, tags={"part": "answer"}),
    wire.Criterion(id="form", text="Boxes the answer.", points=1, tags={"part": "form"}),
]


@pytest.mark.parametrize(
    ("group", "counts"), [(6, [5, 4, 3, 2, 1, 0]), (4, [5, 3, 2, 0]), (8, [5, 4, 4, 3, 2, 1, 1, 0])]
)
def test_in_order_the_form_is_revealed_first_and_the_answer_only_with_all(group: int, counts: list[int]) -> None:
    """The order of the released code's `math_linear`: form, steps as they stand, final answer."""
    scaffold = Scaffold(Schedule(over="constant"), choose="in_order", first=("part:form",), last=("final",))
    for member, count in enumerate(counts):
        found = scaffold.reveal(STEM, row="r", member=member, group=group, step=3, total=10)
        assert [STEM[place].id for place in found] == ["form", "draw", "sum", "unit", "final"][:count]


@given(st.integers(0, 7), st.integers(1, 50), st.booleans())
def test_first_and_last_change_which_are_revealed_and_not_how_many(member: int, step: int, weighed: bool) -> None:
    place: dict[str, Any] = {"row": "r", "member": member, "group": 8, "step": step, "total": 50}
    plain = Scaffold(Schedule(over="linear"))
    bound = replace(plain, first=("form",), last=("part:answer",))
    weights = [1.0, 5.0, 2.0, 1.0, 9.0, 0.1]

    def drawn(scaffold: Scaffold) -> tuple[int, ...]:
        return scaffold.reveal_by_weight(STEM, weights, **place) if weighed else scaffold.reveal(STEM, **place)

    whole, found = drawn(plain), drawn(bound)
    assert len(found) == len(whole) and 2 not in found
    assert not found or found[0] == 5
    assert 4 not in found or (found[-1] == 4 and len(found) == 5)


def test_in_order_needs_no_draw_and_every_member_sees_a_part_of_the_one_before() -> None:
    scaffold = Scaffold(Schedule(over="constant"), choose="in_order")
    found = [
        [scaffold.reveal(STEM, row=row, member=member, group=6, step=step, total=9) for member in range(6)]
        for row, step in (("a", 1), ("b", 7))
    ]
    assert found[0] == found[1] == [(0, 1, 3, 4, 5)[:count] for count in (5, 4, 3, 2, 1, 0)]
