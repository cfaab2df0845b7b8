"""Documents are for the judge alone: every file, row and log carries them to it, and no prompt of a policy has them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from trainer_client import wire
from trainer_client.data.items import read_items
from trainer_client.data.joined import Rubrics
from trainer_client.data.reader import LENIENT, Law
from trainer_client.data.rows import Row, read_rows
from trainer_client.errors import DataError
from trainer_client.ledger.entries import of_item
from trainer_client.preferences.reading import read_pairs
from trainer_client.rescoring.asking import key_of
from trainer_client.rescoring.change import criteria_of
from trainer_client.rollouts import opened, writing
from trainer_client.training.run.folder import digest
from trainer_client.trl.prompt_row import bare, rowed, with_row
from trainer_client.trl.questions import questions
from trainer_client.verl.rows import prompt_row, to_parquet

DOCUMENTS = ["The cap heals in nine days.", "Eis hilft.\n“Gut”."]
ITEM: dict[str, Any] = {
    "id": "knee",
    "prompt": "My knee hurts.",
    "rubric": [{"text": "Says to rest.", "points": 5}],
    "documents": DOCUMENTS,
}


def one_row(path: Path, **changes: Any) -> Row:
    path.write_text(json.dumps({**ITEM, **changes}))
    (row,) = read_rows(path)
    return row


@pytest.mark.parametrize("kind", ["jsonl", "json_text", "csv", "parquet"])
def test_each_kind_of_file_has_them(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{'jsonl' if kind == 'json_text' else kind}"
    if kind == "csv":
        cells = [json.dumps(ITEM[name]).replace('"', '""') for name in ("rubric", "documents")]
        path.write_text(f'id,prompt,rubric,documents\r\nknee,My knee hurts.,"{cells[0]}","{cells[1]}"\r\n')
    elif kind == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist([ITEM]), path)
    else:
        documents = json.dumps(DOCUMENTS) if kind == "json_text" else DOCUMENTS
        path.write_text(json.dumps({**ITEM, "documents": documents}))
    (row,) = read_rows(path)
    assert row.documents == tuple(DOCUMENTS)
    assert row.messages == ({"role": "user", "content": "My knee hurts."},)


@pytest.mark.parametrize("nothing", [None, [], ""])
def test_nothing_is_no_document(tmp_path: Path, nothing: Any) -> None:
    row = one_row(tmp_path / "rows.jsonl", documents=nothing)
    assert row.documents == ()
    assert digest([row]) == digest([replace(row, documents=())]) != digest([replace(row, documents=("a",))])


@pytest.mark.parametrize("other", [["a", 7], [{"text": "a"}], "a text", {"a": "b"}, [""]])
def test_what_is_no_list_of_texts_is_refused_by_its_place(tmp_path: Path, other: Any) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl, line 1: `documents"):
        one_row(tmp_path / "rows.jsonl", documents=other)


def test_trainings_send_them_to_the_judge_and_the_policy_reads_none(tmp_path: Path) -> None:
    row = one_row(tmp_path / "rows.jsonl")
    prompt = with_row(row)
    (asked,) = questions([prompt] * 2, ["Rest.", "Run."], [None, None])
    assert asked.item.documents == DOCUMENTS and bare(prompt) == list(row.messages)
    (own,) = rowed(["My knee hurts."], {"rubric": [ITEM["rubric"]], "documents": [DOCUMENTS]}, rubrics=True)
    (asked,) = questions([own], ["Rest."], [None])
    assert asked.item.documents == DOCUMENTS and "nine days" not in json.dumps(bare(own))
    to_parquet([row], tmp_path / "t.parquet", split="train")
    (sample,) = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert "nine days" not in json.dumps(sample["prompt"])
    assert prompt_row(sample["extra_info"]).item("Rest.").documents == DOCUMENTS
    (again,) = read_rows(tmp_path / "t.parquet")
    assert again.documents == row.documents


def test_logs_results_and_joined_rows_keep_them(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({**ITEM, "response": "Rest."}))
    (item,) = read_items(tmp_path / "rows.jsonl", law=LENIENT)
    table = [{"step": 1, "prompt": with_row(one_row(tmp_path / "own.jsonl")), "score": 1.0, "reward": 1.0}]
    table[0] |= {"completion": "Rest.", "row": "knee", "advantage": 0.0, "criteria": "{}", "member": 0}
    (tmp_path / "run" / "completions").mkdir(parents=True)
    (tmp_path / "run" / "run.yaml").write_text("")
    parquet.write_table(
        pyarrow.Table.from_pylist(table), tmp_path / "run" / "completions" / "completions_00001.parquet"
    )
    (logged,) = opened(tmp_path / "run").rollouts(print)
    assert logged.item().documents == item.documents == DOCUMENTS
    writing.write(tmp_path, [logged])
    (read,) = opened(tmp_path / writing.RESPONSES).rollouts(print)
    assert read.item().documents == DOCUMENTS
    (criterion,) = criteria_of(read)
    assert key_of("judge", read, criterion) != key_of("judge", replace(read, documents=()), criterion)
    (tmp_path / "bare.jsonl").write_text(json.dumps({"id": "knee", "prompt": "My knee hurts.", "response": "Rest."}))
    law = Law(join=Rubrics(tmp_path / "own.jsonl", LENIENT).joined)
    (joined,) = read_items(tmp_path / "bare.jsonl", law=law)
    assert joined.documents == DOCUMENTS
    pair = {**ITEM, "chosen": "Rest.", "rejected": "Run."}
    (tmp_path / "pairs.jsonl").write_text(f"{json.dumps(pair)}\n{json.dumps({**pair, 'id': 'b', 'rubric': None})}")
    for one in read_pairs([tmp_path / "pairs.jsonl"], LENIENT):
        assert one.both(rubric=False, reference=False).documents == DOCUMENTS
        assert one.item("Rest.", rubric=False, reference=False).documents == DOCUMENTS


def test_a_ledger_has_their_digest_and_an_item_without_is_written_as_before() -> None:
    item = wire.Item.model_validate({**ITEM, "response": "Rest."})
    without = wire.Item.model_validate({**ITEM, "response": "Rest.", "documents": None})
    (line,), (bare_line,) = of_item(item), of_item(without)
    assert line == {**bare_line, "documents": line["documents"]} and "nine" not in json.dumps(line)
    assert "documents" not in without.model_dump() and "documents" not in without.model_dump_json()
