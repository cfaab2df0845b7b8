"""A rubric is edited wherever a format keeps it, and nothing else is."""

import json
from typing import Any

import pytest

from trainer_client.data.raw_rubrics import points_name, text_name, with_criteria

OLD: list[dict[str, Any]] = [{"criterion": "a", "points": 5, "tags": []}]
NEW: list[dict[str, Any]] = [{"criterion": "b", "points": 5, "tags": []}]


def renamed(criteria: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**one, "criterion": "b"} for one in criteria]


@pytest.mark.parametrize(
    "place",
    [
        lambda held: held,
        lambda held: {"criteria": held},
        lambda held: {"prompt": "a", "rubric": held, "score": 1},
        lambda held: {"prompt": "a", "rubric": {"criteria": held}},
        lambda held: {"prompt": "a", "rubrics": held, "other": OLD},
        lambda held: {
            "reward_model": {"rubrics": held, "style": "r"},
            "extra_info": {"reward_model": {"rubrics": held}},
        },
        lambda held: {"reward_model": json.dumps({"rubrics": held})},
        lambda held: {"messages": [], "ground_truth": [json.dumps({"rubrics": held})]},
        lambda held: {"extra_info": {"row": json.dumps({"rubric": {"criteria": held}})}},
        lambda held: {"index": 0, "item": {"rubric": {"criteria": held}}, "criteria": [{"id": "0", "met": True}]},
        lambda held: {"prompt": [{"role": "user", "content": "a", "row": json.dumps({"rubric": held})}]},
    ],
)
def test_every_place_of_every_format(place: Any) -> None:
    row = place(OLD)
    kept = json.dumps(row)
    assert with_criteria(row, renamed) == place(NEW)
    assert json.dumps(row) == kept
    assert with_criteria(row, lambda own: list(own)) is row


@pytest.mark.parametrize(
    "row", ["a", 3, None, [], {"rubric": "1. a"}, {"rubric": [{"text": "a"}]}, {"prompt": "[1, 2"}]
)
def test_where_there_are_no_criteria_nothing_happens(row: Any) -> None:
    assert with_criteria(row, renamed) is row


def test_an_edited_rubric_is_no_longer_the_stored_one() -> None:
    row = {"rubric": {"ref": "a@1", "criteria": OLD}, "ref": "other"}
    assert with_criteria(row, renamed) == {"rubric": {"criteria": NEW}, "ref": "other"}
    assert with_criteria(row, lambda own: own) is row


def test_names_of_text_and_points() -> None:
    assert (text_name({"description": "a", "title": "b"}), points_name({"weight": 1})) == ("description", "weight")
    assert (text_name({"text": 3}), points_name({"points": True})) == (None, None)
