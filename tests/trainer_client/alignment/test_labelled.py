"""Pairs of labelled answers, by what their labels earn."""

import json
from pathlib import Path
from typing import Any

from trainer_client.alignment.labelled import labelled_pairs
from trainer_client.labels import read_labels

RUBRIC = [
    {"id": "a", "text": "Says to rest.", "points": 5},
    {"id": "b", "text": "Says to run.", "points": -3},
    {"id": "c", "text": "Is kind.", "points": 0},
]


def row(response: str, prompt: str = "p", **met: Any) -> dict[str, Any]:
    return {"item": {"prompt": prompt, "response": response, "rubric": RUBRIC}, "met": met}


def test_of_two_answers_to_a_prompt_the_better_one_earns_more(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    rows = [
        row("rest", a=True, b=False, c=None),
        row("run", a=False, b=True),
        row("both", a=True, b=True),
        row("rest too", a=True, b=False, c=True),
        row("unknown", a=True, b=None),
        row("elsewhere", "q", a=False, b=False),
    ]
    file.write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    built = labelled_pairs(read_labels([str(file)]))
    assert {(one.chosen, one.rejected) for one in built.pairs} == {
        ("rest", "run"),
        ("rest", "both"),
        ("both", "run"),
        ("rest too", "run"),
        ("rest too", "both"),
    }
    assert built.left_out == {"a criterion without a label": 1}
    assert len({one.id for one in built.pairs}) == 5 and {one.kind for one in built.pairs} == {"labelled"}
