"""Rows as people bring them get the score that they mean: `rubricd score` and the bundled judge, file to number."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from testkit.processes import Running
from trainer_client.cli.main import main

Json = dict[str, Any]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "cases"
QUESTION = "I have a stiff neck. What should I do?"
USER = {"role": "user", "content": QUESTION}
ANSWER = "For a stiff neck: 1. Drink ginger tea. 2. Ask for a massage."
RUBRIC: list[Json] = [
    {"criterion": "Tells the user to drink ginger tea.", "points": 7},
    {"criterion": "Tells the user to ignore the pain.", "points": -5},
]
CALL = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": '{"q":"neck"}'}}
CALLED = [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
CALLED.append({"role": "tool", "tool_call_id": "c1", "content": "ginger tea"})
PITFALL = {"description": "Pitfall Criteria: Does not leave out a massage.", "weight": -1}
PITFALL["verifier"] = {"rule": "contains", "text": "massage"}
RAR = [{"description": "Essential Criteria: Tells the user to drink ginger tea.", "weight": 5}, PITFALL]
RULES = [
    {"text": "Ignores the pain", "points": -1, "verifier": {"rule": "contains", "text": "ignore the pain"}},
    {"text": "Has at most five words", "points": 1, "verifier": {"rule": "length", "max": 5}},
]
THOUGHT = "<think>\nI could say: Ignore the pain. No.\n</think>\n\nDrink ginger tea."

OWN: dict[str, Json] = {
    "healthbench": {"prompt": [USER], "prompt_id": "aa", "rubrics": RUBRIC, "canary": "x", "response": ANSWER},
    "rubrichub": {"question": QUESTION, "id": "q1", "rubrics": RUBRIC, "response": ANSWER},
    "verl as text": {"prompt": [USER], "reward_model": json.dumps({"rubrics": RUBRIC}), "response": ANSWER},
    "columns of others": {"prompt": [USER], "rubric": RUBRIC, "response": ANSWER, "difficulty": 3},
    "tags null": {"prompt": QUESTION, "rubric": [{**RUBRIC[0], "tags": None}], "response": ANSWER},
    "integer id": {"id": 17, "prompt": QUESTION, "rubric": RUBRIC, "response": ANSWER},
    "completion": {"prompt": [USER], "rubric": RUBRIC, "completion": [{"role": "assistant", "content": ANSWER}]},
    "tool calls": {"prompt": CALLED, "rubric": RUBRIC, "response": ANSWER},
    "trajectory": {"prompt": QUESTION, "rubric": RUBRIC, "response": [{"role": "assistant", "content": ANSWER}]},
}
ALONE = {
    "completion_messages",
    "healthbench_own_format",
    "integer_id",
    "item_with_metadata_columns",
    "prompt_with_tool_calls",
    "question_and_prompt",
    "rubrichub",
    "tags_null",
    "verl_reward_model_as_json_text",
}
"""The shared cases that need no option."""

needs_cases = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the folder of cases")


def _scored(judge: Running, path: Path, out: Path, *options: str) -> list[Json]:
    assert main(["score", str(path), "--url", judge.url, "--out", str(out), "--quiet", *options]) == 0
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def _file(folder: Path, *rows: Json) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", OWN)
def test_a_row_of_any_format_gets_its_score(bundled: Running, tmp_path: Path, name: str) -> None:
    (line,) = _scored(bundled, _file(tmp_path, OWN[name]), tmp_path / "out")
    assert line["score"] == 1.0


def test_what_is_not_read_travels_along(bundled: Running, tmp_path: Path) -> None:
    rows = [{**OWN[name], "id": name} for name in ("healthbench", "columns of others")]
    lines = _scored(bundled, _file(tmp_path, *rows), tmp_path / "out")
    assert lines[0]["metadata"] == {"prompt_id": "aa", "canary": "x"} and lines[1]["metadata"] == {"difficulty": 3}


def test_prompt_goes_before_question(bundled: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    system = {"role": "system", "content": "Answer as a nurse would."}
    row = {"question": "Other?", "prompt": [system, USER], "rubric": RUBRIC, "response": ANSWER}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    (line,) = _scored(bundled, tmp_path / "rows.parquet", tmp_path / "out")
    assert line["score"] == 1.0 and line["item"]["prompt"] == [system, USER]
    assert "`prompt` is the conversation; `question` is not read" in capsys.readouterr().err


@pytest.mark.parametrize("aggregation", ["healthbench", "rar_explicit"])
@pytest.mark.parametrize(
    "path", [None, pytest.param(SHARED / "rar_pitfall_phrased_positively.jsonl", marks=needs_cases)]
)
def test_a_pitfall_is_refused_until_somebody_says_what_it_means(
    bundled: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str], aggregation: str, path: Path | None
) -> None:
    file = path or _file(tmp_path, {"question": QUESTION, "rubric": RAR, "response": ANSWER})
    command = ["score", str(file), "--url", bundled.url, "--out", str(tmp_path / "none"), "--quiet"]
    assert main([*command, "--aggregation", aggregation]) == 2
    assert "`--pitfalls`" in capsys.readouterr().err and not (tmp_path / "none").exists()
    said = ("--aggregation", aggregation, "--pitfalls", "met_is_good")
    assert [line["score"] for line in _scored(bundled, file, tmp_path / "out", *said)] == [1.0]


@pytest.mark.parametrize("path", [None, pytest.param(SHARED / "reasoning_in_the_response.jsonl", marks=needs_cases)])
def test_reasoning_that_is_removed_is_not_judged(bundled: Running, tmp_path: Path, path: Path | None) -> None:
    rows = [
        {"id": name, "prompt": QUESTION, "rubric": RULES, "response": text}
        for name, text in (("plain", "Drink ginger tea."), ("thought", THOUGHT))
    ]
    file = path or _file(tmp_path, *rows)
    assert [line["score"] for line in _scored(bundled, file, tmp_path / "kept")] == [1.0, -1.0]
    removed = _scored(bundled, file, tmp_path / "removed", "--reasoning", "remove")
    assert [line["score"] for line in removed] == [1.0, 1.0]


def test_rubrics_of_any_format_are_examined(
    bundled: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    double = [{"criterion": "Does not ignore the pain.", "points": -5}, RUBRIC[0]]
    rows = [OWN["rubrichub"], {**OWN["healthbench"], "rubrics": double}]
    assert main(["lint", str(_file(tmp_path, *rows)), "--url", bundled.url]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert "rows.jsonl, line 2, criterion 0 (Does not ignore the pain.): warning double_negation: " in first
    assert last == "2 rows, 2 distinct rubrics, 4 criteria; 0 errors; 1 warning (1 double_negation)"


@needs_cases
@pytest.mark.parametrize("name", sorted(ALONE))
def test_a_shared_case_gets_its_score(bundled: Running, tmp_path: Path, name: str) -> None:
    (path,) = SHARED.glob(f"{name}.*")
    assert [line["score"] for line in _scored(bundled, path, tmp_path / "out")] == [1.0]


@needs_cases
def test_every_shared_case_has_a_test() -> None:
    own = {"rar_pitfall_phrased_positively", "reasoning_in_the_response", "README"}
    assert {path.stem for path in SHARED.iterdir()} == ALONE | own
