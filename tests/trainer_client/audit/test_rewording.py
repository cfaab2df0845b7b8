"""Rewording keeps the words, and tells which criteria speak of form or of absence."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_client import wire
from trainer_client.audit import rewording

TEXTS = st.lists(st.text("abcä 0.?!,\n", min_size=1), min_size=1).map(" ".join).filter(str.strip)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


@settings(max_examples=1000)
@given(TEXTS)
def test_every_form_has_the_same_words_in_the_same_order_1000_texts(text: str) -> None:
    assert _words(rewording.bulleted(text)) == _words(text)
    assert _words(rewording.emphasised(text)) == _words(text)
    assert _words(rewording.padded(text))[: len(_words(text))] == _words(text)


def test_plain_takes_the_marks_of_markdown_off() -> None:
    marked = "# Advice\n- **Rest** it.\n2) Then __walk__.\nA * b and 3.5 - 2 stay."
    assert rewording.plain(marked) == "Advice\nRest it.\nThen walk.\nA * b and 3.5 - 2 stay."
    assert rewording.plain("Rest. Walk.") == "Rest. Walk."


def test_padding_doubles_the_length_and_more_for_a_short_text() -> None:
    text = "Rest. " * 50
    assert 1.9 < len(rewording.padded(text)) / len(text) < 2.3
    assert rewording.padded("Rest.") == "Rest.\n\nI hope this helps."


@pytest.mark.parametrize(
    "text, of_form, demands",
    [
        ("Tells the user to see a doctor.", False, True),
        ("Has exactly two lines.", True, True),
        ("Is written in short sentences.", True, True),
        ("Does not mention aspirin.", False, False),
        ("Doesn't mention aspirin.", False, False),
        ("Important Criteria: Avoids jargon.", False, False),
    ],
)
def test_criteria_are_told_apart(text: str, of_form: bool, demands: bool) -> None:
    criterion = wire.Criterion(text=text, points=1)
    assert rewording.speaks_of_form(criterion) is of_form
    assert rewording.demands_something(criterion) is demands
    assert not rewording.demands_something(wire.Criterion(text=text, points=-1))
