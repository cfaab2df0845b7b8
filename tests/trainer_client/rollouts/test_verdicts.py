"""Fields of another kind than the service answers are errors that name the place, and no page holds them."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer_client.errors import DataError
from trainer_client.rollouts import read

HUGE = int("9" * 400)


def _read(tmp_path: Path, **fields: Any) -> Any:
    line = {"prompt": "Hi?", "response": "Ho.", "score": 0.5, **fields}
    (tmp_path / "log.jsonl").write_text(json.dumps(line) + "\n")
    return read(tmp_path / "log.jsonl")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("p", "high"),
        ("p", True),
        ("p_raw", HUGE),
        ("points", []),
        ("met", "yes"),
        ("met", 1),
        ("status", 5),
        ("explanation", ["a"]),
        ("level", -1),
        ("level", 0.5),
        ("p_levels", ["a"]),
        ("p_levels", 0.5),
        ("tags", ["a"]),
        ("members", [1]),
        ("members", [{"judge": "a", "met": "yes"}]),
        ("members", [{"judge": "a", "p": "high"}]),
    ],
)
def test_a_field_of_another_kind_is_named(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(DataError, match=f"log.jsonl, line 1: `{field}` of verdict kind"):
        _read(tmp_path, criteria=[{"id": "kind", "met": None, field: value}])


@pytest.mark.parametrize("fields", [{"score": HUGE}, {"score_bounds": [0, HUGE]}, {"attempts": "2"}, {"step": 0.5}])
def test_so_is_one_of_the_response(tmp_path: Path, fields: Any) -> None:
    with pytest.raises(DataError, match=f"line 1: `{next(iter(fields))}`"):
        _read(tmp_path, **fields)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_what_is_no_finite_number_is_an_error_and_no_value(tmp_path: Path, number: str) -> None:
    (tmp_path / "log.jsonl").write_text(f'{{"prompt": "Hi?", "response": "Ho.", "score": {number}}}\n')
    with pytest.raises(DataError, match="line 1: not JSON"):
        read(tmp_path / "log.jsonl")


def test_a_rating_is_the_share_that_it_gives(tmp_path: Path) -> None:
    rating = {"expected": 4.6, "most_likely": 5, "normalised": 0.4}
    entry = {"id": "rating", "status": "ok", "met": None, "p": None, "points": 1.0}
    (found,) = _read(tmp_path, criteria=[entry], rating=rating)
    (rated,) = found.criteria
    assert (rated.value, rated.met, rated.explanation) == (0.4, None, "Rated 4.6 of 10, most likely 5.")
    (found,) = _read(tmp_path, criteria=[{**entry, "status": "timeout"}], score=None)
    assert (found.criteria[0].value, found.status) == (None, "timeout")
