"""`rubricd size FILE` takes the lengths of the work from a file's rows."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from service.engine.build import MINIATURE
from trainer_client.cli.lengths import QUESTION_TOKENS, Lengths, lengths
from trainer_client.cli.main import main
from trainer_client.errors import DataError

Json = dict[str, Any]
NOWHERE = Path("7B")


def _row(characters: int, **more: Any) -> Json:
    rubric = [{"text": "t" * characters, "points": 1}, {"text": "t" * characters, "points": -1}]
    return {"prompt": "p" * characters, "rubric": rubric, **more}


def _file(folder: Path, *rows: Json) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_lengths_are_means_over_the_rows(tmp_path: Path) -> None:
    turns = [{"role": "assistant", "content": "r" * 80}]
    file = _file(tmp_path, _row(100, responses=["r" * 40, turns]), _row(300, responses=["r" * 40, "r" * 40]))
    found = lengths([file], NOWHERE)
    assert found == Lengths(
        rows=2, conversation=50, criterion=50 + QUESTION_TOKENS, criteria=2, response=12, group=2, counted=False
    )


def test_rows_to_train_on_have_no_responses(tmp_path: Path) -> None:
    found = lengths([_file(tmp_path, _row(100), {"prompt": "p"})], NOWHERE)
    assert (found.rows, found.criteria, found.response, found.group) == (2, 1, None, None)


def test_the_judges_own_tokenizer_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Tells the user to drink ginger tea."
    file = _file(tmp_path, {"prompt": text, "rubric": [{"text": text, "points": 1}]})
    found = lengths([file], MINIATURE)
    assert found == lengths([file], MINIATURE / "config.json")
    assert found.counted and found.conversation == 8 and found.criterion == 8 + QUESTION_TOKENS
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert not lengths([file], MINIATURE).counted


@pytest.mark.parametrize(
    ("content", "said"), [("", "holds no rows"), ('{"prompt": 7}', "line 1: `prompt`: is 7; write a text or a list")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "rows.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        lengths([tmp_path / "rows.jsonl"], NOWHERE)


def test_a_flag_goes_before_the_file_and_the_file_before_what_is_assumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(_file(tmp_path, _row(2400, responses=["r" * 400])))

    def told(*flags: str) -> Json:
        assert main(["size", *flags, "--json"]) == 0
        found: Json = json.loads(capsys.readouterr().out)
        return found

    whole = told(file)
    assert whole.pop("file") == {
        "rows": 1,
        "conversation": 600,
        "criterion": 620,
        "criteria": 2,
        "response": 100,
        "group": 1,
        "counted": False,
    }
    assert whole == told(
        "--conversation", "600", "--criterion", "620", "--criteria", "2", "--response", "100", "--group", "1"
    )
    changed = told(file, "--criteria", "12", "--group", "8")
    assert changed["verdicts"] == 512 * 12
    assert main(["size", file]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Of 1 rows, as means: a conversation of 600 tokens, 1 responses of 100, 2 criteria of 620; estimated" in said
    assert main(["size", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl: No such file" in capsys.readouterr().err
