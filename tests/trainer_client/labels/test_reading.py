import gzip
import io
import json
import random
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from miniature.world.cases import evaluation
from trainer_client.data.reader import Law
from trainer_client.errors import DataError
from trainer_client.labels import Labels, read_labels
from trainer_client.labels.labelled import majority

Json = dict[str, Any]
RUBRIC: list[Json] = [{"id": "kind", "text": "Is kind.", "points": 5}, {"text": "Lies.", "points": -3}]
ITEM: Json = {"prompt": "Hello?", "response": "Hi.", "rubric": RUBRIC}
META: Json = {  # the columns of HealthBench's meta-evaluation as simple-evals reads it
    "prompt_id": "p-1",
    "completion_id": "c-1",
    "prompt": [{"role": "user", "content": "My knee hurts."}],
    "completion": "Rest it.",
    "rubric": "The response tells the user to rest.",
    "category": "cluster:context_seeking",
    "binary_labels": [True, False, True],
    "anonymized_physician_ids": ["X9", "A1", "B2"],
}


def _file(folder: Path, *rows: Json, name: str = "in.jsonl") -> str:
    path = folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def _read(folder: Path, *rows: Json) -> Labels:
    return read_labels([_file(folder, *rows)])


def _slip(folder: Path, *rows: Json) -> str:
    path = _file(folder, *rows)
    with pytest.raises(DataError) as caught:
        read_labels([path])
    assert str(caught.value).startswith(path)
    return str(caught.value).removeprefix(path)


def test_the_miniatures_cases_are_read_as_they_are_printed(tmp_path: Path) -> None:
    cases = [evaluation(7, index) for index in range(100)]
    labels = _read(tmp_path, *({"item": case.wire, "met": case.truth} for case in cases))
    assert [dict(one.met) for one in labels.items] == [case.truth for case in cases]
    assert [one.item.response for one in labels.items] == [case.response for case in cases]
    assert labels.annotators == () and labels.labelled == sum(len(case.met) for case in cases)


def test_every_way_to_write_the_same_labels_is_the_same(tmp_path: Path) -> None:
    met = {"kind": True, "1": False}
    inner = [{**one, "met": met.get(one.get("id", "1"))} for one in RUBRIC]
    forms: list[Json] = [
        {"item": ITEM, "met": met},
        {**ITEM, "met": met},
        {**ITEM, "met": json.dumps(met)},
        {**ITEM, "rubric": inner},
        {**ITEM, "rubric": {"criteria": inner}},
        {"item": {**ITEM, "rubric": inner}},
        {"prompt": "Hello?", "response": "Hi.", "rubrics": inner},
        {"prompt": "Hello?", "completion": "Hi.", "reward_model": {"rubrics": inner}},
        {"prompt": "Hello?", "responses": ["Hi."], "rubric": RUBRIC, "met": [met]},
    ]
    read = [_read(tmp_path, form) for form in forms]
    assert {one.digest for one in read} == {read[0].digest}
    assert dict(read[0].items[0].met) == met
    other = _read(tmp_path, {**ITEM, "met": {**met, "1": True}})
    assert other.digest != read[0].digest


def test_responses_of_one_row_are_items_of_one_group(tmp_path: Path) -> None:
    row = {"prompt": "Hello?", "responses": ["Hi.", "Go."], "rubric": RUBRIC, "met": [{"kind": True}, {"kind": False}]}
    labels = _read(tmp_path, row, {**ITEM, "met": {"kind": True}}, {**ITEM, "prompt": "Bye?", "met": {"1": True}})
    assert [one.met["kind"] for one in labels.items] == [True, False, True, None]
    assert [one.item.response for one in labels.items] == ["Hi.", "Go.", "Hi.", "Hi."]
    first, second, third, fourth = (one.group for one in labels.items)
    assert first == second == third != fourth


def test_annotators_words_stand_beside_their_majority(tmp_path: Path) -> None:
    rows = [
        {**ITEM, "annotators": ["ann", "bo", "cy"], "met": {"kind": [True, True, False], "1": [None, True, False]}},
        {**ITEM, "met": {"kind": {"dee": True, "bo": None}}},
    ]
    labels = _read(tmp_path, *rows)
    assert labels.annotators == ("ann", "bo", "cy", "dee")
    assert labels.items[0].annotators == {"kind": (True, True, False, None), "1": (None, True, False, None)}
    assert dict(labels.items[0].met) == {"kind": True, "1": None}
    assert labels.items[1].annotators == {"kind": (None, None, None, True)}
    assert dict(labels.items[1].met) == {"kind": True, "1": None}


def test_10_000_majorities_are_those_of_a_count() -> None:
    draw = random.Random(0)
    for _ in range(10_000):
        words = [draw.choice((True, False, None)) for _ in range(draw.randrange(6))]
        yes, no = words.count(True), words.count(False)
        assert majority(words) == (None if yes == no else yes > no)


def test_healthbenchs_meta_evaluation_is_read_as_published(tmp_path: Path) -> None:
    labels = _read(tmp_path, META, {**META, "completion_id": "c-2", "completion": "Run.", "binary_labels": [False] * 3})
    first, second = labels.items
    assert labels.annotators == ("X9", "A1", "B2") and first.group == second.group == "p-1"
    (criterion,) = first.criteria
    assert criterion.text == META["rubric"] and first.item.response == "Rest it."
    assert first.met == {criterion.id: True} and first.annotators == {criterion.id: (True, False, True)}
    assert second.met == {criterion.id: False}
    assert criterion.tags == {"category_of_meta_evaluation": "cluster:context_seeking"}


def test_gzip_folders_parquet_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = json.dumps({"item": ITEM, "met": {"kind": True}}).encode()
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(line))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "part.jsonl").write_bytes(line)
    table = tmp_path / "a.parquet"
    columns = {**{name: [value] for name, value in ITEM.items() if name != "rubric"}, "met": ['{"kind": true}']}
    pq.write_table(pa.table({**columns, "rubric": [json.dumps(RUBRIC)]}), table)
    monkeypatch.setattr(sys, "stdin", type("In", (), {"buffer": io.BufferedReader(io.BytesIO(line))}))
    assert len({read_labels([str(path)]).digest for path in (packed, folder, table, "-")}) == 1
    assert len(read_labels([str(packed), str(table)]).items) == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ITEM, ", line 2: no labels; add `met`"),
        ({**ITEM, "met": {"kin": True}}, ", line 2: `met` names the criterion 'kin', which the rubric does not have; "),
        ({**ITEM, "met": {"kind": "yes"}}, ", line 2: `met.kind` is the text 'yes'; write true, false, null"),
        ({**ITEM, "met": {"kind": 1}}, ", line 2: `met.kind` is 1; write true, false, null"),
        ({**ITEM, "met": {"kind": [True, 0]}}, ", line 2: `met.kind[1]` is 0; write true, false, or null"),
        ({**ITEM, "met": [True, False]}, ", line 2: `met[0]` is true; write an object of true or false"),
        ({**ITEM, "met": True}, ", line 2: `met` is true; write an object of true or false"),
        ({**ITEM, "met": {"kind": [True]}, "annotators": ["a", "b"]}, ", line 2: `met.kind` has 1 words and "),
        ({**ITEM, "met": {"kind": [True]}, "annotators": ["a", "a"]}, ", line 2: `annotators` has one name twice"),
        ({**ITEM, "rubric": [{**RUBRIC[0], "met": "no"}]}, ", line 2: `rubric[0].met` is the text 'no'; write true"),
        ({**ITEM, "rubric": [{**RUBRIC[0], "met": True}], "met": {"kind": True}}, ", line 2: labels in `met` and in "),
        ({"prompt": "p", "responses": ["a", "b"], "rubric": RUBRIC, "met": {"kind": True}}, ", line 2: labels for 1 "),
        ({"prompt": "p", "response": "a", "met": {"kind": True}}, ", line 2: no `rubric`"),
        ({**ITEM, "rubric": [{"text": "t"}], "met": {"0": True}}, ", line 2: `rubric[0].points`: is missing; give"),
        ({**META, "rubric": [{"text": "t", "points": 1}]}, ", line 2: `rubric` is a list of 1; beside `binary_labels`"),
        ({**META, "binary_labels": [True]}, ", line 2: `binary_labels` has 1 words and "),
        ({**META, "binary_labels": [1, 0, 1]}, ", line 2: `binary_labels[0]` is 1; write true, false, or null"),
    ],
)
def test_a_slip_names_file_line_field_what_is_there_and_what_to_write(tmp_path: Path, row: Json, said: str) -> None:
    assert _slip(tmp_path, {**ITEM, "met": {"kind": True}}, row).startswith(said)


def test_a_file_without_any_label_is_refused(tmp_path: Path) -> None:
    assert "no criterion has a label" in _slip(tmp_path, {**ITEM, "met": {"kind": None}})
    assert "no criterion has a label" in _slip(tmp_path, {**ITEM, "met": {"kind": [True, False]}})


def test_a_pitfalls_sign_is_said_and_not_guessed(tmp_path: Path) -> None:
    rubric = [{"id": "p", "text": "Forgets the dose.", "points": -2, "category": "pitfall"}]
    row = {**ITEM, "rubric": rubric, "met": {"p": True}}
    assert "--pitfalls" in _slip(tmp_path, row)
    labels = read_labels([_file(tmp_path, row)], law=Law(pitfalls="met_is_good"))
    assert labels.items[0].criteria[0].worth == 2
