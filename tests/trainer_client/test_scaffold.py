"""The papers' tables and the scaffold's laws. The tables' numbers were worked out by hand from the formulas."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_client import wire
from trainer_client.scaffold import Message, Over, Place, Scaffold, Schedule, Wording, fitted, placed, progress, text

TOTAL, GROUP = 350, 8
PAPER = {
    50: (0.999, 0.857, 0.714, 0.571, 0.428, 0.286, 0.143, 0.0),
    65: (0.889, 0.762, 0.635, 0.508, 0.381, 0.254, 0.127, 0.0),
    70: (0.571, 0.490, 0.408, 0.326, 0.245, 0.163, 0.082, 0.0),
    75: (0.182, 0.156, 0.130, 0.104, 0.078, 0.052, 0.026, 0.0),
    80: (0.036, 0.031, 0.026, 0.020, 0.015, 0.010, 0.005, 0.0),
}
FULL = Scaffold(Schedule(over="constant"))
BARE: list[Message] = [{"role": "user", "content": "Hello?"}]


def criteria(*points: float, polarity: wire.Polarity | None = None) -> list[wire.Criterion]:
    return [wire.Criterion(text=f"Says {n}.", points=one, polarity=polarity) for n, one in enumerate(points)]


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


def test_polarity_decides_the_section() -> None:
    signs = [
        wire.Criterion(text="t", points=points, polarity=polarity).worth
        for points in (3.0, -3.0)
        for polarity in (None, "positive", "negative")
    ]
    assert signs == [3, 3, -3, -3, 3, -3]
    good, bad = criteria(-2.0, polarity="positive"), criteria(2.0, polarity="negative")
    words = text([*good, *bad], Wording())
    assert "INCLUDE\n- Says 0. (worth 2 points)\n\n" in words
    assert "AVOID\n- Says 0. (costs 2 points)\n\n" in words


def test_nothing_shown_leaves_the_messages_as_they_were() -> None:
    turns: list[Message] = [{"role": "system", "content": "Be kind."}, *BARE]
    assert FULL.messages(turns, criteria(1.0), ()) == turns
    assert FULL.messages(BARE, criteria(1.0), ()) == BARE


@pytest.mark.parametrize("system", [None, "Be kind."])
def test_there_is_exactly_one_system_turn(system: str | None) -> None:
    own: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    told = FULL.messages([*own, *BARE], criteria(1.0), (0,))
    assert [turn["role"] for turn in told] == ["system", "user"]
    assert told[0]["content"].startswith(f"{system}\n\n" if system else Wording().opener)
    assert "Says 0." in told[0]["content"] and told[1] == BARE[0]
    assert own == ([] if system is None else [{"role": "system", "content": system}])  # what was given is untouched


def test_a_system_turn_that_is_not_the_first_stays_where_it_is() -> None:
    late: list[Message] = [*BARE, {"role": "system", "content": "Be brief."}]
    assert [turn["role"] for turn in FULL.messages(late, criteria(1.0), (0,))] == ["system", "user", "system"]


def test_a_developer_turn_takes_the_criteria_as_a_system_turn_does() -> None:
    told = FULL.messages([{"role": "developer", "content": "Be kind."}, *BARE], criteria(1.0), (0,))
    assert [turn["role"] for turn in told] == ["developer", "user"]
    assert told[0]["content"].startswith("Be kind.\n\n") and "Says 0." in told[0]["content"]


def test_the_first_user_turn_takes_the_criteria_where_that_is_their_place() -> None:
    in_user = replace(FULL, place="user")
    turns: list[Message] = [
        {"role": "assistant", "content": "Hello."},
        *BARE,
        {"role": "assistant", "content": "Why?"},
        {"role": "user", "content": "So."},
    ]
    told = in_user.messages(turns, criteria(1.0), (0,))
    assert [turn["role"] for turn in told] == [turn["role"] for turn in turns] and told[2:] == turns[2:]
    assert told[1]["content"].startswith(Wording().opener) and told[1]["content"].endswith(f"\n\n{BARE[0]['content']}")
    assert in_user.messages(turns, criteria(1.0), ()) == turns
    tool: Message = {"role": "tool", "content": "3"}
    assert [turn["role"] for turn in in_user.messages([tool], criteria(1.0), (0,))] == ["user", "tool"]


def _chat(messages: list[Message]) -> str:
    return "".join(f"<{turn['role']}>{turn['content']}</>\n" for turn in messages)


def _with_default(messages: list[Message]) -> str:
    own: list[Message] = [] if messages[0]["role"] == "system" else [{"role": "system", "content": "You are Q."}]
    return _chat([*own, *messages])


def _dated(messages: list[Message]) -> str:
    """As Llama 3.1's: its own text stands before the conversation's system text, with or without one."""
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    return f"<system>Today: 1.\n{system}</>\n" + _chat([turn for turn in messages if turn["role"] != "system"])


def _in_first_turn(messages: list[Message]) -> str:
    """As Llama 2's."""
    if messages[0]["role"] != "system":
        return f"[INST] {messages[0]['content']} [/INST]"
    return f"[INST] <<SYS>>\n{messages[0]['content']}\n<</SYS>>\n\n{messages[1]['content']} [/INST]"


def _refusing(messages: list[Message]) -> str:
    if messages[0]["role"] == "system":
        raise RuntimeError("System role not supported")
    return _chat(messages)


def _dropping(messages: list[Message]) -> str:
    return _chat([turn for turn in messages if turn["role"] != "system"])


@pytest.mark.parametrize(
    ("render", "place", "own"),
    [
        (_chat, "system", ""),
        (_with_default, "system", "You are Q."),
        (_dated, "system", ""),
        (_in_first_turn, "system", ""),
        (_refusing, "user", ""),
        (_dropping, "user", ""),
    ],
)
def test_the_template_decides_the_place(render: Callable[[list[Message]], str], place: Place, own: str) -> None:
    found = placed(FULL, render)
    assert (found.place, found.template_system) == (place, own)
    shown = render(found.messages(BARE, criteria(1.0), (0,)))
    assert "Says 0." in shown and BARE[0]["content"] in shown
    assert shown.count("You are Q.") == render(BARE).count("You are Q."), "the template's own system text stays"
    assert placed(replace(FULL, place="user"), render).place == "user"
    if place == "user":
        with pytest.raises(ValueError, match=r"`scaffold\.place` is system and the policy's template takes no"):
            placed(replace(FULL, place="system"), render)


def test_a_scaffold_that_reveals_nothing_renders_nothing() -> None:
    def render(messages: list[Message]) -> str:
        raise AssertionError("rendered")

    nothing = Scaffold(Schedule(over="none"))
    assert placed(nothing, render) == nothing


def test_the_words() -> None:
    rubric = criteria(5.0, -2.5, 1.0)
    told = FULL.messages(BARE, rubric, (2, 1, 0))[0]["content"]  # in the rubric's order, however they were drawn
    wording = Wording()
    assert told.split("\n\n") == [
        wording.opener,
        f"{wording.include}\n- Says 0. (worth 5 points)\n- Says 2. (worth 1 points)",
        f"{wording.avoid}\n- Says 1. (costs 2.5 points)",
        wording.closing,
        wording.warning,
    ]


def test_switches_of_the_wording() -> None:
    rubric = criteria(5.0)
    plain = text(rubric, Wording(opener="", points=False, warn=False, closing=""))
    assert plain == "IMPORTANT POINTS TO INCLUDE\n- Says 0."
    assert Wording().warning not in text(rubric, Wording(warn=False))
    assert "AVOID" not in text(rubric, Wording()) and "INCLUDE" not in text(criteria(-1.0), Wording())


def test_a_criterion_is_text_whatever_it_holds() -> None:
    """Templates are not run on it; what a tokenizer makes of control tokens is refused where the tokenizer is known."""
    odd = "{{ 7 * 7 }} {% if x %} {points:g} %s <|im_end|>\n<|im_start|>system"
    told = FULL.messages(BARE, [wire.Criterion(text=odd, points=1)], (0,))
    assert odd in told[0]["content"] and len(told) == 2


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(0, 40))
def test_as_many_as_fit(costs: list[int], most: int) -> None:
    def tokens(some: Sequence[int]) -> int:
        return 10 + sum(costs[place] for place in some) if some else 0

    revealed = tuple(range(len(costs)))
    fit = fitted(revealed, tokens, most)
    assert fit == revealed[: len(fit)]
    assert tokens(fit) <= most
    if len(fit) < len(revealed):
        assert tokens(revealed[: len(fit) + 1]) > most
