"""What `rubricd score` reads: files, standard input, results of before, and rubrics of another file."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from testkit.scripted_judge import Service, items
from tests.trainer_client.cli.scoring import results_in, scored_by

Json = dict[str, Any]


def test_a_results_file_can_be_scored_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[Json] = [{**one, "difficulty": n, "note": None} for n, one in enumerate(items(3))]
    rule = {"rule": "json_schema", "schema": {"const": None}}
    rows.append(
        {"prompt": "?", "responses": ["a", "b"], "rubric": [{"text": "t", "points": 1, "verifier": rule}], "id": 7}
    )
    file = tmp_path / "in.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    service = Service()
    assert scored_by(file, service, "--quiet") == 0
    first = results_in(tmp_path / "in.results.jsonl")
    assert [line["metadata"] for line in first] == [{"difficulty": n} for n in range(3)] + [None, None]
    assert all("metadata" not in one or one["metadata"] is None for body in service.bodies for one in body["items"])
    assert first[3]["item"]["rubric"]["criteria"][0]["verifier"] == rule
    assert scored_by(tmp_path / "in.results.jsonl", service, "--quiet", "--out", str(tmp_path / "again.jsonl")) == 0
    again = results_in(tmp_path / "again.jsonl")
    same = ("id", "score", "metadata", "item")
    assert [[line[name] for name in same] for line in again] == [[line[name] for name in same] for line in first]
    assert [line["id"] for line in again] == ["0", "1", "2", "7/0", "7/1"]


def test_standard_input_needs_a_name_for_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "".join(f"{json.dumps(one)}\n" for one in items(2))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert scored_by(Path("-"), Service(), "--quiet") == 2
    assert "--out" in capsys.readouterr().err
    assert scored_by(Path("-"), Service(), "--quiet", "--out", str(tmp_path / "out.jsonl")) == 0
    assert len(results_in(tmp_path / "out.jsonl")) == 2


def test_a_strict_run_refuses_what_is_not_read(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(json.dumps({**items(1)[0], "difficulty": 3}))
    assert scored_by(file, Service(), "--strict", "--quiet") == 2
    assert "in.jsonl, line 1: `difficulty` is not read; leave it out" in capsys.readouterr().err
    assert scored_by(file, Service(), "--quiet") == 0


def test_what_a_pitfall_means_is_asked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pitfall = {"description": "Pitfall Criteria: Does not run.", "weight": -1}
    essential = {"description": "Essential Criteria: Says to rest.", "weight": 5}
    file.write_text(json.dumps({"question": "?", "rubric": [essential, pitfall], "response": "Rest."}))
    service = Service()
    assert scored_by(file, service, "--quiet") == 2
    assert "line 1: `rubric[1]` is a pitfall with negative points" in capsys.readouterr().err
    assert scored_by(file, service, "--quiet", "--pitfalls", "met_is_good") == 0
    assert service.bodies[0]["items"][0]["rubric"]["criteria"][1]["polarity"] == "positive"


def test_rubrics_come_from_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = {**items(1)[0], "id": "a"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(whole))
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps({"id": "a", "response": "answer 0"}))
    service = Service()
    assert scored_by(file, service, "--quiet") == 2
    assert "line 1: no `prompt`" in capsys.readouterr().err
    assert scored_by(file, service, "--quiet", "--rubrics", str(tmp_path / "rows.jsonl")) == 0
    (sent,) = service.bodies[0]["items"]
    assert [one["text"] for one in sent["rubric"]["criteria"]] == [one["text"] for one in whole["rubric"]]
    assert scored_by(file, service, "--quiet", "--force", "--rubrics", str(tmp_path / "none.jsonl")) == 2
    assert "none.jsonl: No such file" in capsys.readouterr().err


def test_a_note_is_told_once(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("".join(f"{json.dumps({**one, 'question': 'Other?'})}\n" for one in items(3)))
    assert scored_by(file, Service(), "--quiet") == 0
    assert capsys.readouterr().err == "rubricd: note: `prompt` is the conversation; `question` is not read\n"
