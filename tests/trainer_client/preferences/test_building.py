"""Pairs that are built from good responses, or from rubrics alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer_client.data.reader import LENIENT
from trainer_client.errors import DataError
from trainer_client.perturbation.responses import RESPONSE_KINDS
from trainer_client.preferences.building import Built, build_pairs

RUBRIC = [
    {"text": "Says to rest.", "points": 5},
    {"text": "Says ice.", "points": 2},
    {"text": "Says run.", "points": -4},
]


def build(tmp_path: Path, *rows: dict[str, Any], kinds: Any = RESPONSE_KINDS) -> Built:
    file = tmp_path / "good.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return build_pairs([file], kinds, seed=0, law=LENIENT)


def test_each_response_has_a_pair_of_each_kind(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "Knee?", "response": "Rest. Ice.", "rubric": RUBRIC, "id": "k"},
        {"prompt": "Sea?", "response": "It is blue. It is wide.", "id": "s"},
    ]
    built = build(tmp_path, *rows)
    by_id = {pair.id: pair for pair in built.pairs}
    assert len(by_id) == 9
    assert built.left_out == {"nothing to do for `fault`": 1}
    assert (by_id["k/empty"].rejected, by_id["k/off-topic"].rejected) == ("", "It is blue. It is wide.")
    assert "Says run." in by_id["k/fault"].rejected
    assert {pair.chosen for pair in built.pairs} == {"Rest. Ice.", "It is blue. It is wide."}
    assert {pair.group for pair in built.pairs} == {"k", "s"}
    assert built.written == 0


def test_without_a_response_one_is_written_from_what_the_rubric_wants(tmp_path: Path) -> None:
    built = build(tmp_path, {"prompt": "Knee?", "rubric": RUBRIC}, kinds=["half"])
    [pair] = built.pairs
    assert pair.chosen == "Says to rest.\nSays ice."
    assert pair.rejected in ("Says to rest.", "Says ice.")
    assert built.written == 1


def test_a_group_of_responses_is_as_many_good_ones_of_one_name_each(tmp_path: Path) -> None:
    built = build(tmp_path, {"prompt": "p", "responses": ["A b.", "C d."], "id": "g"}, kinds=["empty"])
    assert [pair.id for pair in built.pairs] == ["g/0/empty", "g/1/empty"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "p"}, "neither a response nor a rubric"),
        ({"prompt": "p", "response": ""}, "no pair can be built"),
        (
            {"prompt": "p", "response": [{"role": "tool", "content": "x"}, {"role": "assistant", "content": "y"}]},
            "traj",
        ),
    ],
)
def test_what_cannot_be_built_is_said(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        build(tmp_path, row)
