"""What is mechanical is fixed, once, and nothing else changes."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_client import wire
from trainer_client.data.raw_rubrics import with_criteria
from trainer_client.lint.codes import FIXED
from trainer_client.lint.fixing import Fix, fixed
from trainer_client.lint.rules import lint

Raw = dict[str, Any]


def test_each_kind_of_defect_is_mended_and_told() -> None:
    given_ = [
        {"criterion": "Esential Criteria: Names the  tea.", "points": 5, "tags": ["axis: a", "category:Esential"]},
        {"text": " Names the dose.\u200b", "points": 3, "tags": {" axis ": "a "}},
        {"title": "Tea", "description": "[Optional] Names a shop.", "weight": 1},
        {"text": "Names the dose.", "points": 3, "id": "d", "tags": {"axis": "a"}},
        {"text": "Names the dose.", "points": 4, "tags": {"axis": "a"}},
    ]
    new, fixes = fixed(given_)
    assert new == [
        {"criterion": "Essential Criteria: Names the tea.", "points": 5, "tags": ["axis:a", "category:essential"]},
        {"text": "Names the dose.", "points": 3, "tags": {"axis": "a"}},
        {"title": "Tea", "description": "Optional Criteria: Names a shop.", "weight": 1},
        {"text": "Names the dose.", "points": 4, "tags": {"axis": "a"}},
    ]
    codes = [("category_prefix", 0), ("untidy_text", 0), ("tag_form", 0), ("untidy_text", 1), ("tag_form", 1)]
    codes += [("category_prefix", 2), ("duplicate_text", 3)]
    assert fixes == [Fix(place, code) for code, place in codes]
    assert given_[0]["criterion"] == "Esential Criteria: Names the  tea."


def test_a_sound_rubric_and_one_that_nobody_can_read_are_left_alone() -> None:
    sound: list[Raw] = [
        {"text": "Essential Criteria: Names the tea.", "points": 5, "tags": None},
        {"text": "Step 1: is it tea?\n  Yes or no.\n\nStep 2: is it hot?", "points": 2.5, "tags": ["axis:a"]},
    ]
    assert fixed(sound) == (sound, [])
    unreadable: list[Raw] = [{"text": "  ", "points": 1}, {"text": "a ", "points": "x"}, {"points": 1}]
    assert fixed(unreadable) == (unreadable, [])


def test_what_a_rule_looks_at_keeps_its_blanks() -> None:
    raw = {"text": "Has  two blanks.", "points": 1, "verifier": {"rule": "contains", "text": "  "}}
    assert fixed([raw]) == ([raw], [])


_BLANK = st.sampled_from(["", " ", "  ", "\u00a0", "\u200b", "\n", "\t"])
_PREFIX = st.sampled_from(
    ["", "Essential Criteria: ", "Esential criteria - ", "[Optional] ", "**Important:** ", "Pitfal Criteria:", "X: "]
)
_TEXT = st.builds(
    "".join,
    st.tuples(
        _BLANK, _PREFIX, _BLANK, st.sampled_from(["Names", "names", "Optional"]), _BLANK, st.text(max_size=8), _BLANK
    ),
)
_TAGS: st.SearchStrategy[Any] = st.none() | st.lists(
    st.sampled_from(["axis:a", "axis: a", "category:Esential", "note"]), max_size=2
)
_TAGS |= st.dictionaries(st.sampled_from(["axis", " axis", "category"]), st.sampled_from(["a", "a ", "Optional", "b"]))
_NAMES = st.sampled_from([("text", "points"), ("criterion", "points"), ("description", "weight")])


@st.composite
def _criterion(draw: st.DrawFn) -> Raw:
    text, points = draw(_NAMES)
    raw: Raw = {text: draw(_TEXT), points: draw(st.sampled_from([5, -2, 0, 1.5]))}
    tags = draw(_TAGS)
    return raw if tags is None and draw(st.booleans()) else {**raw, "tags": tags}


def _readable(criteria: list[Raw]) -> wire.Rubric | None:
    try:
        return wire.Rubric.model_validate(
            [{name: value for name, value in one.items() if value is not None} for one in criteria]
        )
    except ValueError:
        return None


@settings(max_examples=400)
@given(st.lists(_criterion(), min_size=1, max_size=5), st.sampled_from(["rubric", "verl"]))
def test_fixed_rows_have_none_of_what_is_fixed_and_lose_nothing(criteria: list[Raw], kind: str) -> None:
    """400 rows: 0 findings left but equal texts that differ otherwise, 0 changes the second time, 0 other columns."""
    new, fixes = fixed(criteria)
    assert fixed(new) == (new, [])
    before, after = _readable(criteria), _readable(new)
    if before is not None:
        assert after is not None
        left = [one for one in lint(after) if one.code in FIXED]
        assert all(one.code == "duplicate_text" for one in left)
        removed = [fix.place for fix in fixes if fix.code == "duplicate_text"]
        kept = [one for place, one in enumerate(before.criteria) if place not in removed]
        assert [one.worth for one in kept] == [one.worth for one in after.criteria]
        words = [["".join(_words(text)) for text in map(_text, some)] for some in (kept, after.criteria)]
        assert words[0] == words[1]
    row: Raw = {"prompt": "p", "score": 0.5, "rubric": criteria, "other": None}
    if kind == "verl":
        row = {"prompt": "p", "reward_model": {"style": "rubric", "rubrics": criteria}, "extra_info": {"index": 3}}
    once = with_criteria(row, lambda own: fixed(own)[0])
    assert with_criteria(once, lambda own: fixed(own)[0]) == once
    places = ("reward_model", "rubrics") if kind == "verl" else ("rubric",)
    held, was = once, row
    for name in places:
        assert {key: value for key, value in held.items() if key != name} == {k: v for k, v in was.items() if k != name}
        held, was = held[name], was[name]
    assert held == new


def _text(one: wire.Criterion) -> str:
    """What is said, whichever form the category at its beginning has."""
    return wire.Criterion(text=fixed([{"text": one.text, "points": 1}])[0][0]["text"], points=1).judged_text


def _words(text: str) -> list[str]:
    return [character for character in text if not character.isspace() and character.isprintable()]
