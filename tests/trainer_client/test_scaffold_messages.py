"""How the criteria that a scaffold reveals are said, and in which turn: the words, and the chat template's part."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer_client.scaffolds import BARE, FULL, criteria
from trainer_client import wire
from trainer_client.scaffold import Message, Place, Scaffold, Schedule, Wording, fitted, placed, text


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
