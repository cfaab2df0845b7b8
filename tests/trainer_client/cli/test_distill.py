"""A mistake of `rubricd distill` is one sentence, before a model is loaded or a folder made."""

import json
from pathlib import Path

import pytest

from trainer_client.cli.main import main

ROW = {"prompt": "p", "response": "r", "rubric": [{"text": "Is kind.", "points": 1}]}


@pytest.mark.parametrize(
    "row, options, said",
    [
        (ROW, [], "no labels; add `met`"),
        ({**ROW, "met": {"0": True}}, ["--out", "."], "exists; name another folder with --out"),
        ({**ROW, "met": {"0": True}}, ["--teacher", "nowhere"], "url must look like http://host:port"),
        ({"prompt": "p", "response": "r"}, ["--teacher", "http://127.0.0.1:9"], "without a `rubric`"),
    ],
)
def test_a_mistake_is_said_in_one_sentence(
    tmp_path: Path, row: object, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(row))
    out = tmp_path / "judge"
    assert main(["distill", str(rows), "--base", "/nowhere", "--out", str(out), *options]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert said in error and error.startswith("rubricd: ") and sorted(tmp_path.iterdir()) == [rows]


@pytest.mark.parametrize("option", [["--epochs", "0"], ["--held-out", "1"], ["--lora", "0"], ["--learning-rate", "x"]])
def test_a_number_that_makes_no_sense_is_refused(option: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["distill", "rows.jsonl", "--base", "b", "--out", "o", *option])
    assert end.value.code == 2
