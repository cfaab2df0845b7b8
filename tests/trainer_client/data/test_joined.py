"""Rows without a rubric that take it from another file: verl's dumps, plain answers, and one rubric for all."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer_client import wire
from trainer_client.data.items import read_items
from trainer_client.data.joined import Rubrics
from trainer_client.data.reader import LENIENT, Law
from trainer_client.data.rows import read_rows
from trainer_client.errors import DataError
from trainer_client.verl.rows import to_parquet

Json = dict[str, Any]


def _lines(path: Path, *rows: Json) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A short conversation, one that goes on from it, and another one."""
    first = [{"role": "user", "content": "My knee hurts."}]
    longer = [*first, {"role": "assistant", "content": "Since when?"}, {"role": "user", "content": "Since May."}]
    other = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "And my neck?"}]
    rows = [
        {"id": name, "prompt": prompt, "rubric": [{"text": f"Helps {name}.", "points": 1}], "reference": name}
        for name, prompt in (("short", first), ("longer", longer), ("other", other))
    ]
    path = tmp_path / "train.parquet"
    to_parquet(read_rows(_lines(tmp_path / "train.jsonl", *rows)), path, split="train")
    return path


def _joined(path: Path, rubrics: Path) -> list[wire.Item]:
    return list(read_items(path, law=Law(join=Rubrics(rubrics, LENIENT).joined)))


def _texts(items: list[wire.Item]) -> list[str]:
    return [item.rubric.criteria[0].text for item in items if item.rubric]


def _dump(text: str, **more: Any) -> Json:
    return {"input": text, "output": "Rest.", "gts": "", "score": 0.5, "step": 7, **more}


SCAFFOLDED = "system\nPoints: helps short.\nuser\nMy knee hurts.\nassistant\n"
LONGER = "user\nMy knee hurts.\nassistant\nSince when?\nuser\nSince May.\nassistant\n"
OTHER = "system\nBe brief.\nuser\nAnd my neck?\nassistant\n"


def test_a_dump_of_verl_finds_the_row_whose_turns_it_holds(tmp_path: Path, trained: Path) -> None:
    dump = _lines(tmp_path / "7.jsonl", *map(_dump, (SCAFFOLDED, LONGER, OTHER, LONGER)))
    items = _joined(dump, trained)
    assert _texts(items) == ["Helps short.", "Helps longer.", "Helps other.", "Helps longer."]
    assert [item.reference for item in items] == ["short", "longer", "other", "longer"]
    assert items[0].prompt == [wire.Message(role="user", content="My knee hurts.")]
    assert (items[0].response, items[0].metadata) == ("Rest.", {"gts": "", "score": 0.5, "step": 7})


def test_rows_are_joined_by_id_or_by_their_conversation(tmp_path: Path, trained: Path) -> None:
    by_id, by_prompt = {"id": "other", "response": "a"}, {"prompt": "My knee hurts.", "response": "b"}
    own = {"prompt": "?", "response": "c", "rubric": [{"text": "Mine.", "points": 1}]}
    items = _joined(_lines(tmp_path / "in.jsonl", by_id, by_prompt, own), trained)
    assert _texts(items) == ["Helps other.", "Helps short.", "Mine."]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "none", "response": "a"}, "`id` is the text 'none' and fits no row of "),
        ({"prompt": "?", "response": "a"}, "`prompt` is the text '?' and fits no row of "),
        (_dump("user\nHello\n"), "`input` is the text "),
    ],
)
def test_what_fits_no_row_is_refused(tmp_path: Path, trained: Path, row: Json, said: str) -> None:
    with pytest.raises(DataError, match=r"in\.jsonl, line 1: ") as caught:
        _joined(_lines(tmp_path / "in.jsonl", row), trained)
    assert said in str(caught.value)


def test_what_fits_several_rows_is_refused(tmp_path: Path) -> None:
    same = {"prompt": "My knee hurts.", "rubric": [{"text": "t", "points": 1}]}
    rubrics = _lines(tmp_path / "train.jsonl", same, same)
    with pytest.raises(DataError, match="fits several rows"):
        _joined(_lines(tmp_path / "in.jsonl", _dump(SCAFFOLDED)), rubrics)


def test_without_the_other_file_a_dump_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="name the file that was trained on with --rubrics"):
        list(read_items(_lines(tmp_path / "7.jsonl", _dump(OTHER))))


HARBOR = """
[judge]
judge = "a/model"
files = ["/app/main.py"]

[[criterion]]
description = "The code is correct."
type = "binary"

[[criterion]]
name = "tests"
description = "There are tests."
weight = 2.5
"""


def test_the_criteria_of_a_judge_file_are_every_rows_rubric(tmp_path: Path) -> None:
    judge = tmp_path / "judge.toml"
    judge.write_text(HARBOR)
    rows = [{"prompt": "Write it.", "response": str(n)} for n in range(2)]
    items = _joined(_lines(tmp_path / "in.jsonl", *rows), judge)
    assert len(items) == 2 and items[0].rubric == items[1].rubric
    assert items[0].rubric is not None
    assert [(one.id, one.text, one.points) for one in items[0].rubric.criteria] == [
        (None, "The code is correct.", 1.0),
        ("tests", "There are tests.", 2.5),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[[criterion]]\ndescription = "How good?"\ntype = "likert"\n', "`criterion[0].type` is the text 'likert'"),
        (
            '[[criterion]]\ndescription = "How many?"\ntype = "numeric"\nmin = 0\nmax = 5\n',
            "`criterion[0].type` is the text 'numeric'; only binary criteria can be judged: write it as a statement",
        ),
        ("[judge]\n", "no `[[criterion]]`"),
        ("[", "not readable as TOML"),
    ],
)
def test_a_judge_file_that_cannot_be_used_says_why(tmp_path: Path, content: str, said: str) -> None:
    judge = tmp_path / "judge.toml"
    judge.write_text(content)
    with pytest.raises(DataError, match=r"judge\.toml: ") as caught:
        Rubrics(judge, LENIENT)
    assert said in str(caught.value)
