"""Criteria as data sets write them: prefixes with their misspellings, signs, and what counts."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rubrics.rubric import CATEGORIES, Category, Criterion, category_of, signed, split_prefix


@pytest.mark.parametrize(
    ("word", "category"),
    [
        ("Essential", "essential"),
        ("ESSENTIAL", "essential"),
        ("Esential", "essential"),
        ("Essental", "essential"),
        ("Importnat", "important"),
        ("Imporant", "important"),
        ("Optinal", "optional"),
        ("Pitfall", "pitfall"),
        ("Pitfal", "pitfall"),
        ("Pitfalls", "pitfall"),
        ("Potential", None),
        ("Additional", None),
        ("Exponential", None),
        ("Desirable", None),
        ("", None),
    ],
)
def test_a_word_that_almost_names_a_category_names_it(word: str, category: Category | None) -> None:
    assert category_of(word) == category


@pytest.mark.parametrize("word", ["Inessential", "Nonessential", "Unessential", "Unimportant"])
def test_a_word_that_means_something_else_names_no_category(word: str) -> None:
    assert category_of(word) is None


@pytest.mark.parametrize(
    ("text", "category", "rest"),
    [
        ("Essential Criteria: Names a.", "essential", "Names a."),
        ("essential criterion: names a", "essential", "names a"),
        ("  Pitfall Criteria - Names a.", "pitfall", "Names a."),
        ("Pitfall Criteria \u2013 Names a.", "pitfall", "Names a."),
        ("Optional  Criteria : Names a.", "optional", "Names a."),
        ("Important Critera: Names a.", "important", "Names a."),
        ("Imporant Criterias:Names a.", "important", "Names a."),
        ("Essential Criteria: First: names a.", "essential", "First: names a."),
        ("Essential Criteria: Pitfall Criteria: a", "essential", "Pitfall Criteria: a"),
        ("Essential Criteria:\n  a\n", "essential", "a\n"),
    ],
)
def test_a_prefix_is_a_category_and_no_part_of_the_text(text: str, category: Category, rest: str) -> None:
    assert split_prefix(text) == (category, rest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Names a.",
        "Essential: names a.",
        "Essential Criteria names a.",
        "Important criteria are met: names a.",
        "Names a. Essential Criteria: names b.",
        "Potential Criteria: names a.",
        "Criteria: names a.",
        "Essential Criteria:",
        "Essential Criteria:  \n",
    ],
)
def test_a_text_without_a_prefix_is_left_as_it_is(text: str) -> None:
    assert split_prefix(text) == (None, text)


@given(st.text(), st.sampled_from(CATEGORIES))
def test_nothing_is_lost_but_the_prefix(text: str, category: Category) -> None:
    found, rest = split_prefix(text)
    assert text.endswith(rest)
    assert (found is None) == (rest == text)
    written = f"{category.title()} Criteria: x{text}"
    assert split_prefix(written) == (category, f"x{text}")


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE)
def test_polarity_decides_the_sign_and_never_the_size(points: float) -> None:
    assert signed(points, None) == points
    assert signed(points, "positive") == abs(points)
    assert signed(points, "negative") == -abs(points)


def test_zero_has_no_sign() -> None:
    for points, polarity in ((0.0, "negative"), (-0.0, "positive"), (-0.0, None), (0.0, None)):
        assert str(signed(points, polarity)) == "0.0"


@given(FINITE)
def test_what_counts_and_what_is_wanted_follow_from_the_points(points: float) -> None:
    criterion = Criterion(id="0", text="t", points=points)
    assert criterion.counted == (points != 0)
    assert criterion.wanted == (points > 0)
    assert not Criterion(id="0", text="t", points=signed(0.0, "negative")).counted


def test_a_criterion_is_a_value() -> None:
    criterion = Criterion(id="0", text="t", points=1)
    assert criterion == Criterion(id="0", text="t", points=1)
    with pytest.raises(FrozenInstanceError):
        criterion.points = 2  # type: ignore[misc]
